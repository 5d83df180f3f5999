import { printable } from './printable.ts'
import { dim, type Line, type Styled } from './terminal.ts'

export type Cell = string | Styled

/** Aligned columns under dim headings. On a terminal the last column is cut to fit, so that rows stay rows. */
export function tableLines(headings: readonly string[], rows: readonly (readonly Cell[])[], columns?: number): Line[] {
  const widths = headings.map((heading, index) =>
    Math.max(heading.length, ...rows.map((row) => widthOf(row[index] ?? ''))),
  )
  const lastColumnStart = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0)
  const room = columns === undefined ? Number.POSITIVE_INFINITY : Math.max(10, columns - lastColumnStart)
  const toLine = (row: readonly Cell[]): Line =>
    row.flatMap((cell, index): Cell[] => {
      if (index === row.length - 1) return [index === widths.length - 1 ? cut(cell, room) : cell]
      return [cell, ' '.repeat((widths[index] ?? 0) - widthOf(cell) + 2)]
    })
  return [toLine(headings.map((heading) => dim(heading))), ...rows.map((row) => toLine(withoutEmptyEnd(row)))]
}

/** `name  value` pairs, the names aligned and dim. */
export function fieldLines(fields: readonly (readonly [name: string, value: Cell | undefined])[]): Line[] {
  const shown = fields.filter((field): field is [string, Cell] => field[1] !== undefined)
  const width = Math.max(0, ...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => ['  ', dim(name.padEnd(width + 2)), value])
}

/** Spaces at the end of a line are only noise where it is copied. */
function withoutEmptyEnd(row: readonly Cell[]): readonly Cell[] {
  return row.slice(0, row.findLastIndex((cell) => textOf(cell) !== '') + 1)
}

function textOf(cell: Cell): string {
  return printable(typeof cell === 'string' ? cell : cell.text)
}

function widthOf(cell: Cell): number {
  return [...textOf(cell)].length
}

function cut(cell: Cell, room: number): Cell {
  const characters = [...textOf(cell)]
  if (characters.length <= room) return cell
  const text = `${characters.slice(0, room - 1).join('')}…`
  return typeof cell === 'string' ? text : { ...cell, text }
}
