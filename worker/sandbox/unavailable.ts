/** This machine cannot run jobs: `reason` says why in one sentence, `fix` is the one command (or change) that helps. */
export class SandboxUnavailable extends Error {
  readonly reason: string
  readonly fix: string

  constructor(reason: string, fix: string) {
    super(`${reason} ${fix}`)
    this.name = 'SandboxUnavailable'
    this.reason = reason
    this.fix = fix
  }
}
