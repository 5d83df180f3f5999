import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { allocate, type Contender } from './fairness.ts'

const stride = 1000
const contender = fc.record({
  pass: fc.nat(5000),
  weight: fc.integer({ min: 1, max: 20 }),
  free: fc.nat(12),
  waiting: fc.nat(12),
})
const contenders = fc.array(contender, { maxLength: 8 }).map((teams): Contender<string>[] =>
  teams.map(({ waiting, ...team }, i) => ({
    ...team,
    teamId: `team-${i}`,
    items: Array.from({ length: waiting }, (_, n) => `${i}-${n}`),
  })),
)

describe('sharing out slots', () => {
  test('nobody gets more than it may run or has waiting, and never more than there are slots', () => {
    fc.assert(
      fc.property(contenders, fc.nat(60), (teams, slots) => {
        const shares = allocate(teams, slots)
        for (const { teamId, taken } of shares) {
          const team = teams.find((other) => other.teamId === teamId)
          assert.ok(team !== undefined && taken.length > 0 && taken.length <= team.free)
          assert.deepEqual(taken, team.items.slice(0, taken.length))
        }
        assert.ok(shares.flatMap(({ taken }) => taken).length <= slots)
        assert.equal(new Set(shares.map(({ teamId }) => teamId)).size, shares.length)
      }),
    )
  })

  test('no slot stays free while somebody could use it', () => {
    fc.assert(
      fc.property(contenders, fc.nat(60), (teams, slots) => {
        const usable = teams.reduce((sum, { free, items }) => sum + Math.min(free, items.length), 0)
        const taken = allocate(teams, slots).flatMap((share) => share.taken).length
        assert.equal(taken, Math.min(slots, usable))
      }),
    )
  })

  test('the virtual times of two teams that always have work never part by more than one stride', () => {
    const backlogged = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 6 })
    const rounds = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 })
    fc.assert(
      fc.property(backlogged, rounds, (weights, slotsPerRound) => {
        const teams = weights.map((weight, i) => ({
          ...{ teamId: `team-${i}`, pass: 0, weight, free: 9 },
          items: Array(9).fill('job'),
        }))
        const counts = weights.map(() => 0)
        for (const slots of slotsPerRound) {
          for (const { teamId, pass, taken } of allocate(teams, slots)) {
            const i = teams.findIndex((team) => team.teamId === teamId)
            Object.assign(teams[i] ?? {}, { pass })
            counts[i] = (counts[i] ?? 0) + taken.length
          }
          const used = counts.map((count, i) => count * Math.max(1, Math.round(stride / (weights[i] ?? 1))))
          assert.ok(Math.max(...used) - Math.min(...used) <= stride, `${counts} for ${weights}`)
        }
      }),
    )
  })

  test('a team of weight 3 gets three slots for each one of a team of weight 1', () => {
    const team = (teamId: string, weight: number) => ({
      ...{ teamId, weight, pass: 0, free: 100 },
      items: Array(100).fill(teamId),
    })
    const shares = allocate([team('light', 1), team('heavy', 3)], 40)
    const counts = Object.fromEntries(shares.map(({ teamId, taken }) => [teamId, taken.length]))
    assert.deepEqual(counts, { light: 10, heavy: 30 })
  })
})
