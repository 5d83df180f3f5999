import { daySeconds } from './day.ts'
import type { Outcome } from './simulate.ts'
import { slotsPerWorker } from './simulate.ts'

const width = 1000
const height = 420
const left = 60
const top = 50
const plotWidth = width - left - 20
const plotHeight = height - top - 50

/** The day as a drawing: the load in slots as an area, the slots that were there as a line. Colors also tell apart without color vision. */
export function drawDay({ points }: Outcome): string {
  const most = Math.max(8, ...points.map(({ load, workers }) => Math.max(load, workers * slotsPerWorker)))
  const scale = Math.ceil(most / 10) * 10
  const x = (second: number) => (left + (second / daySeconds) * plotWidth).toFixed(1)
  const y = (slots: number) => (top + plotHeight * (1 - slots / scale)).toFixed(1)
  const area = points.map(({ second, load }) => `${x(second)},${y(load)}`).join(' ')
  const steps = points.flatMap(({ second, workers }, i) => {
    const before = points[i - 1]?.workers ?? workers
    return before === workers
      ? [`${x(second)},${y(workers * slotsPerWorker)}`]
      : [`${x(second)},${y(before * slotsPerWorker)}`, `${x(second)},${y(workers * slotsPerWorker)}`]
  })
  const hours = Array.from({ length: 13 }, (_, i) => i * 2)
  const ticks = Array.from({ length: 6 }, (_, i) => (scale / 5) * i)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13" role="img" aria-label="A simulated day: the slots of the pool follow the load">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="26" font-size="16" fill="#1a1a1a">A simulated day of load and the slots that the scaling hooks asked for</text>`,
    ...ticks.map(
      (tick) =>
        `<line x1="${left}" x2="${width - 20}" y1="${y(tick)}" y2="${y(tick)}" stroke="#dddddd"/><text x="${left - 8}" y="${Number(y(tick)) + 4}" text-anchor="end" fill="#444444">${tick}</text>`,
    ),
    ...hours.map(
      (hour) => `<text x="${x(hour * 3600)}" y="${height - 26}" text-anchor="middle" fill="#444444">${hour}:00</text>`,
    ),
    `<polygon points="${x(0)},${y(0)} ${area} ${x(daySeconds)},${y(0)}" fill="#f2b134"/>`,
    `<polyline points="${steps.join(' ')}" fill="none" stroke="#1f4e9c" stroke-width="2"/>`,
    `<rect x="${left}" y="${height - 16}" width="14" height="10" fill="#f2b134"/><text x="${left + 20}" y="${height - 6}" fill="#1a1a1a">load (slots that end all work in a minute)</text>`,
    `<line x1="${left + 330}" x2="${left + 350}" y1="${height - 11}" y2="${height - 11}" stroke="#1f4e9c" stroke-width="2"/><text x="${left + 358}" y="${height - 6}" fill="#1a1a1a">slots of the pool</text>`,
    '</svg>',
    '',
  ].join('\n')
}
