import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { openSandbox } from '../../sandbox/sandbox.ts'
import type { Sandbox } from '../../sandbox/spec.ts'
import type { EgressDecision } from '../egress-proxy.ts'
import { FetchFailed, type FetchFailureCode } from '../fetch-failed.ts'
import { type IngestOptions, type IngestProgress, type IngestResult, ingestRepository } from '../ingest.ts'
import { defaultIngestSettings, type IngestSettings } from '../ingest-settings.ts'
import type { SourceFile } from '../read-files.ts'

export interface IngestRun extends IngestResult {
  sources: SourceFile[]
  progress: IngestProgress[]
  decisions: EgressDecision[]
}

export type IngestCall = Partial<Omit<IngestOptions, 'settings'>> & {
  repository: string
  settings?: Partial<IngestSettings>
}

/** One real sandbox for a test file, and a call that runs a whole ingest in it. */
export function useIngest() {
  let sandbox: Sandbox | undefined
  before(async () => {
    // An ingest takes six runs: with five slots no step has the same user in the next four ingests.
    sandbox = await openSandbox({ slots: 5 })
  })
  after(() => sandbox?.close())

  async function ingest(folder: string, call: IngestCall): Promise<IngestRun> {
    assert.ok(sandbox)
    const sources: SourceFile[] = []
    const progress: IngestProgress[] = []
    const decisions: EgressDecision[] = []
    const result = await ingestRepository({
      sandbox,
      projectId: 'project',
      dataDir: join(folder, 'data'),
      onProgress: (step) => progress.push(step),
      onFiles: async (batch) => void sources.push(...batch),
      onEgress: (decision) => decisions.push(decision),
      ...call,
      settings: { ...defaultIngestSettings, localRepos: [folder], ...call.settings },
    })
    return { ...result, sources, progress, decisions }
  }

  async function assertFails(folder: string, call: IngestCall, code: FetchFailureCode): Promise<FetchFailed> {
    const outcome = await ingest(folder, call).catch((error: unknown) => error)
    assert.ok(outcome instanceof FetchFailed, `${outcome instanceof Error ? outcome.stack : 'succeeded'}`)
    assert.equal(outcome.code, code, outcome.detail)
    // Neither what the user reads nor what the log gets may tell where things lie on this machine.
    assert.ok(!`${outcome.message} ${outcome.detail}`.includes(folder))
    return outcome
  }

  return { ingest, assertFails }
}
