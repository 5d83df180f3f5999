import type { Command } from './command.ts'
import { invite as adminInvite } from './commands/admin/invite.ts'
import { rotateKeys } from './commands/admin/rotate-keys.ts'
import { activate } from './commands/admin/user/activate.ts'
import { deactivate } from './commands/admin/user/deactivate.ts'
import { endSessions } from './commands/admin/user/end-sessions.ts'
import { ls as userLs } from './commands/admin/user/ls.ts'
import { makeAdmin } from './commands/admin/user/make-admin.ts'
import { removeAdmin } from './commands/admin/user/remove-admin.ts'
import { reset } from './commands/admin/user/reset.ts'
import { show as userShow } from './commands/admin/user/show.ts'
import { approve } from './commands/auth/approve.ts'
import { forgot } from './commands/auth/forgot.ts'
import { ls as factorLs } from './commands/auth/mfa/ls.ts'
import { rm as factorRm } from './commands/auth/mfa/rm.ts'
import { totp } from './commands/auth/mfa/totp.ts'
import { password } from './commands/auth/password.ts'
import { recoveryCodes } from './commands/auth/recovery-codes.ts'
import { revoke as sessionRevoke } from './commands/auth/revoke.ts'
import { sessions } from './commands/auth/sessions.ts'
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
import { create as keyCreate } from './commands/key/create.ts'
import { ls as keyLs } from './commands/key/ls.ts'
import { revoke as keyRevoke } from './commands/key/revoke.ts'
import { rotate } from './commands/key/rotate.ts'
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
import { invitations } from './commands/team/invitations.ts'
import { invite } from './commands/team/invite.ts'
import { join } from './commands/team/join.ts'
import { leave } from './commands/team/leave.ts'
import { ls as teamLs } from './commands/team/ls.ts'
import { members as teamMembers } from './commands/team/members.ts'
import { create as teamCreate } from './commands/team/new.ts'
import { remove } from './commands/team/remove.ts'
import { rename } from './commands/team/rename.ts'
import { rm as teamRm } from './commands/team/rm.ts'
import { role } from './commands/team/role.ts'
import { transfer } from './commands/team/transfer.ts'
import { uninvite } from './commands/team/uninvite.ts'
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
  sessions,
  sessionRevoke,
  approve,
  password,
  forgot,
  totp,
  factorLs,
  factorRm,
  recoveryCodes,
  teamLs,
  teamCreate,
  rename,
  teamRm,
  teamMembers,
  role,
  remove,
  leave,
  transfer,
  invite,
  invitations,
  uninvite,
  join,
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
  keyCreate,
  keyLs,
  rotate,
  keyRevoke,
  enrol,
  workerLs,
  drain,
  revoke,
  userLs,
  userShow,
  deactivate,
  activate,
  makeAdmin,
  removeAdmin,
  endSessions,
  reset,
  adminInvite,
  rotateKeys,
]
