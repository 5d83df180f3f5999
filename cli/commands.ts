import type { Command } from './command.ts'
import { status } from './commands/auth/status.ts'
import { ingest } from './commands/ingest.ts'
import { attempts } from './commands/job/attempts.ts'
import { cancel } from './commands/job/cancel.ts'
import { get } from './commands/job/get.ts'
import { logs } from './commands/job/logs.ts'
import { ls as jobLs } from './commands/job/ls.ts'
import { retry } from './commands/job/retry.ts'
import { watch } from './commands/job/watch.ts'
import { why } from './commands/job/why.ts'
import { login } from './commands/login.ts'
import { logout } from './commands/logout.ts'
import { ls as projectLs } from './commands/project/ls.ts'
import { members } from './commands/project/members.ts'
import { create } from './commands/project/new.ts'
import { show } from './commands/project/show.ts'
import { use } from './commands/project/use.ts'
import { run } from './commands/run.ts'
import { search } from './commands/search.ts'
import { setup } from './commands/setup.ts'
import { drain } from './commands/worker/drain.ts'
import { enrol } from './commands/worker/enrol.ts'
import { ls as workerLs } from './commands/worker/ls.ts'
import { revoke } from './commands/worker/revoke.ts'

/** Every command that talks to a server, in the order of the help. */
export const commands: readonly Command[] = [
  setup,
  login,
  logout,
  status,
  projectLs,
  create,
  use,
  show,
  members,
  ingest,
  run,
  search,
  jobLs,
  get,
  watch,
  logs,
  why,
  attempts,
  cancel,
  retry,
  enrol,
  workerLs,
  drain,
  revoke,
]
