import type { Cgroups } from './cgroups.ts'
import type { Gpu } from './gpu.ts'
import type { Launcher, LauncherNeeds } from './launcher.ts'
import type { Tools } from './prerequisites.ts'
import type { SandboxSpec } from './spec.ts'
import type { SandboxState } from './state.ts'

/** What an open sandbox knows about its machine. */
export interface Machine {
  readonly tools: Tools
  readonly state: SandboxState
  readonly cgroups: Cgroups
  readonly layers: readonly string[]
  readonly node: string
  readonly inherited: readonly number[]
  /** What jobs that ask for a GPU are given. */
  readonly gpus: readonly Gpu[]
  readonly gpuMaxMs: number
  /** The host user of a slot's jobs; undefined when the worker may not choose one. */
  slotUid(slot: number): number | undefined
  /** Removals of control groups still under way. */
  readonly trash: Set<Promise<void>>
}

export interface SlotRun {
  spec: SandboxSpec
  slot: number
  /** The launcher of this slot, which becomes the job. */
  takeLauncher: (needs: LauncherNeeds) => Promise<Launcher>
  closing: AbortSignal
  /** Called when a process outlived its job, so the slot's user and pipes must not be used again. */
  onUnusable: () => void
}
