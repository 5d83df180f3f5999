import type { Context } from './context.ts'
import type { Sample } from './metrics.ts'

/** One figure of a group, under the name of its family. */
export type Reading<Name extends string = string> = Omit<Sample, 'suffix'> & { readonly name: Name }

/** Figures that are read together when somebody asks for the metrics; a noun exports its own from its main file. Their labels come from a fixed set, or from operators. */
export interface GaugeGroup<Name extends string = string> {
  /** Names the group where it could not be read. */
  readonly name: string
  /** What each family says. */
  readonly families: Readonly<Record<Name, string>>
  /** Names that end in `_total` are counters. */
  read(ctx: Context): readonly Reading<Name>[] | Promise<readonly Reading<Name>[]>
}

/** The group as it is; only so does TypeScript hold its readings to its families. */
export function gaugeGroup<const Name extends string>(group: GaugeGroup<Name>): GaugeGroup {
  return group
}
