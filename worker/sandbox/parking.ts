import { discard, type Launcher, type LauncherNeeds, park, USUAL_NEEDS } from './launcher.ts'
import type { Machine } from './machine.ts'

/** Launchers made ahead of their jobs: starting one and putting it into its control groups takes longer than most of a short job. */
export interface Parking {
  /** Parks launchers in these free slots, in the background. */
  prepare(slots: readonly number[]): void
  /** The launcher of a slot that is now taken: the parked one where it fits and lives, else a new one. */
  take(slot: number, needs: LauncherNeeds): Promise<Launcher>
  /** Ends what is parked. */
  close(): Promise<void>
}

export function openParking(machine: Machine): Parking {
  const parked = new Map<number, Promise<Launcher | undefined>>()

  async function find(slot: number): Promise<Launcher | undefined> {
    const launcher = await parked.get(slot)
    parked.delete(slot)
    return launcher
  }
  return {
    prepare(slots) {
      for (const slot of slots.filter((slot) => !parked.has(slot))) {
        // What fails ahead of time fails again, and is reported, when a job is waiting for it.
        parked.set(
          slot,
          park(machine, slot, USUAL_NEEDS).catch(() => undefined),
        )
      }
    },
    async take(slot, needs) {
      const launcher = await find(slot)
      if (launcher === undefined) return park(machine, slot, needs)
      const isUsual = needs.secrets === 0 && needs.groups.length === 0
      if (isUsual && launcher.job.isAlive()) return launcher
      await discard(machine, launcher)
      return park(machine, slot, needs)
    },
    async close() {
      await Promise.all(
        [...parked.keys()].map(async (slot) => {
          const launcher = await find(slot)
          if (launcher !== undefined) await discard(machine, launcher)
        }),
      )
    },
  }
}
