import type { CgroupFolders } from './cgroups.ts'
import type { Tools } from './prerequisites.ts'
import type { SandboxSpec } from './spec.ts'
import type { SandboxState } from './state.ts'

/** What an open sandbox knows about its machine. */
export interface Machine {
  readonly tools: Tools
  readonly state: SandboxState
  readonly cgroups: CgroupFolders
  readonly held: ReadonlySet<string>
  readonly layers: readonly string[]
  readonly node: string
  readonly inherited: readonly number[]
  /** Removals of control groups still under way. */
  readonly trash: Set<Promise<void>>
}

export interface SlotRun {
  spec: SandboxSpec
  slot: number
  /** The host user of the job; undefined when the worker may not choose one. */
  slotUid: number | undefined
  closing: AbortSignal
  /** Called when a process outlived its job, so the slot's user and pipes must not be used again. */
  onUnusable: () => void
}
