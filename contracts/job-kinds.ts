import { type Static, Type } from 'typebox'
import { maxRepositoryUrlLength } from './repository-url.ts'
import { Id, object } from './values.ts'

export const jobKinds = ['ingest', 'compute'] as const
export type JobKind = (typeof jobKinds)[number]

/** The text of a repository address as it arrives; `parseRepositoryUrl` decides what it means. */
export const RepositoryUrlText = Type.String({ minLength: 1, maxLength: maxRepositoryUrlLength })

/** A git ref name: a branch, a tag or a full commit id. No leading dash (option injection), no control characters, no `..`. */
export const GitRef = Type.String({
  minLength: 1,
  maxLength: 250,
  pattern: '^(?!-)(?!.*\\.\\.)(?!.*//)[A-Za-z0-9._/@+-]+$',
})

export const IngestInput = object({ repository: RepositoryUrlText, ref: Type.Optional(GitRef) })
export type IngestInput = Static<typeof IngestInput>

export const ComputeLimits = object({
  wallSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 3600 })),
  cpuSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 3600 })),
  memoryMiB: Type.Optional(Type.Integer({ minimum: 16, maximum: 4096 })),
  diskMiB: Type.Optional(Type.Integer({ minimum: 1, maximum: 1024 })),
  processes: Type.Optional(Type.Integer({ minimum: 4, maximum: 512 })),
  outputKiB: Type.Optional(Type.Integer({ minimum: 1, maximum: 16384 })),
})
export type ComputeLimits = Static<typeof ComputeLimits>

/** A relative path below the job's folder, without `.` and `..` steps. Not `.*`: it stops at U+2028, behind which a `..` would go unseen. */
export const FilePath = Type.String({
  minLength: 1,
  maxLength: 400,
  pattern:
    '^(?!/)(?!([\\s\\S]*/)?\\.{1,2}(/|$))(?![\\s\\S]*//)[^\\u0000-\\u001f\\u007f\\\\]+[^/\\u0000-\\u001f\\u007f\\\\]$|^[A-Za-z0-9_-]$',
})

/** The name of a secret, which is the name of its file below /run/secrets. */
const SecretName = Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,99}$' })
/** Values that only the job's own processes may read, each as a file; never shown again, not in the environment, cut out of the log. */
export const Secrets = Type.Record(SecretName, Type.String({ minLength: 1, maxLength: 8192 }), {
  maxProperties: 50,
  additionalProperties: false,
})

/** Fetches what the bundle's lockfile names before the command runs, in a sandbox that reaches the project's allowed hosts only, running none of its scripts. */
export const Install = object({ manager: Type.Literal('npm') })

/** A program and its arguments, as execve takes them. */
export const Command = Type.Array(Type.String({ maxLength: 8192, pattern: '^[^\\u0000]*$' }), {
  minItems: 1,
  maxItems: 256,
})
export const ComputeEnv = Type.Record(
  Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,99}$' }),
  Type.String({ maxLength: 8192, pattern: '^[^\\u0000]*$' }),
  { maxProperties: 100, additionalProperties: false },
)

export const ComputeInput = object({
  command: Command,
  files: Type.Optional(
    Type.Array(object({ path: FilePath, content: Type.String({ maxLength: 262_144 }) }), { maxItems: 100 }),
  ),
  env: Type.Optional(ComputeEnv),
  /** An uploaded archive, unpacked into the job's folder before `files`. */
  bundle: Type.Optional(Id),
  secrets: Type.Optional(Secrets),
  install: Type.Optional(Install),
  /** Asks for the worker's graphics device; only a worker that has one takes the job. */
  gpu: Type.Optional(Type.Boolean()),
  limits: Type.Optional(ComputeLimits),
})
export type ComputeInput = Static<typeof ComputeInput>

export const jobInputs = { ingest: IngestInput, compute: ComputeInput } as const

/** What a worker reports of a finished ingest; further members are kept in the job's result as they are. */
export const IngestResult = Type.Object({
  commit: Type.String({ pattern: '^[0-9a-f]{40}([0-9a-f]{24})?$' }),
  branch: Type.Union([Type.String({ maxLength: 250 }), Type.Null()]),
  files: Type.Integer({ minimum: 0 }),
  bytes: Type.Integer({ minimum: 0 }),
})
export type IngestResult = Static<typeof IngestResult>
