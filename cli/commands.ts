import type { Command } from './command.ts'
import { acknowledge } from './commands/admin/alert/acknowledge.ts'
import { listAlertCommand } from './commands/admin/alert/ls.ts'
import { listErrors } from './commands/admin/errors.ts'
import { invite as adminInvite } from './commands/admin/invite.ts'
import { listEveryJob } from './commands/admin/job/ls.ts'
import { posture } from './commands/admin/posture.ts'
import { rotateKeys } from './commands/admin/rotate-keys.ts'
import { showSettings } from './commands/admin/settings.ts'
import { listEveryTeam } from './commands/admin/team/ls.ts'
import { assignTier } from './commands/admin/tier/assign.ts'
import { listTierCommand } from './commands/admin/tier/ls.ts'
import { setTierFigure } from './commands/admin/tier/set.ts'
import { activate } from './commands/admin/user/activate.ts'
import { deactivate } from './commands/admin/user/deactivate.ts'
import { endSessions } from './commands/admin/user/end-sessions.ts'
import { ls as userLs } from './commands/admin/user/ls.ts'
import { makeAdmin } from './commands/admin/user/make-admin.ts'
import { removeAdmin } from './commands/admin/user/remove-admin.ts'
import { reset } from './commands/admin/user/reset.ts'
import { show as userShow } from './commands/admin/user/show.ts'
import { head } from './commands/audit/head.ts'
import { tail } from './commands/audit/tail.ts'
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
import { up } from './commands/bundle/up.ts'
import { ingest } from './commands/ingest.ts'
import { artifacts } from './commands/job/artifacts.ts'
import { attempts } from './commands/job/attempts.ts'
import { cancel } from './commands/job/cancel.ts'
import { download } from './commands/job/download.ts'
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
import { egress } from './commands/project/egress.ts'
import { ls as projectLs } from './commands/project/ls.ts'
import { members } from './commands/project/members.ts'
import { create } from './commands/project/new.ts'
import { show } from './commands/project/show.ts'
import { use } from './commands/project/use.ts'
import { limit } from './commands/queue/limit.ts'
import { ls as queueLs } from './commands/queue/ls.ts'
import { pause as queuePause } from './commands/queue/pause.ts'
import { resume as queueResume } from './commands/queue/resume.ts'
import { run } from './commands/run.ts'
import { add } from './commands/schedule/add.ts'
import { ls as scheduleLs } from './commands/schedule/ls.ts'
import { pause as schedulePause } from './commands/schedule/pause.ts'
import { resume as scheduleResume } from './commands/schedule/resume.ts'
import { rm as scheduleRm } from './commands/schedule/rm.ts'
import { run as scheduleRun } from './commands/schedule/run.ts'
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
import { deliveries } from './commands/webhook/deliveries.ts'
import { disable } from './commands/webhook/disable.ts'
import { enable } from './commands/webhook/enable.ts'
import { ls as webhookLs } from './commands/webhook/ls.ts'
import { create as webhookCreate } from './commands/webhook/new.ts'
import { replay } from './commands/webhook/replay.ts'
import { rm as webhookRm } from './commands/webhook/rm.ts'
import { rotate as webhookRotate } from './commands/webhook/rotate.ts'
import { sendTest } from './commands/webhook/send-test.ts'
import { show as webhookShow } from './commands/webhook/show.ts'
import { drain } from './commands/worker/drain.ts'
import { enrol } from './commands/worker/enrol.ts'
import { enrolments } from './commands/worker/enrolments.ts'
import { ls as workerLs } from './commands/worker/ls.ts'
import { requestRotation } from './commands/worker/request-rotation.ts'
import { revoke } from './commands/worker/revoke.ts'
import { revokeEnrolment } from './commands/worker/revoke-enrolment.ts'

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
  egress,
  ingest,
  run,
  up,
  search,
  jobLs,
  get,
  watch,
  logs,
  why,
  attempts,
  artifacts,
  download,
  cancel,
  retry,
  queueLs,
  queuePause,
  queueResume,
  limit,
  scheduleLs,
  add,
  scheduleRun,
  schedulePause,
  scheduleResume,
  scheduleRm,
  keyCreate,
  keyLs,
  rotate,
  keyRevoke,
  webhookLs,
  webhookCreate,
  webhookShow,
  sendTest,
  deliveries,
  replay,
  webhookRotate,
  disable,
  enable,
  webhookRm,
  enrol,
  enrolments,
  revokeEnrolment,
  workerLs,
  drain,
  requestRotation,
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
  listAlertCommand,
  acknowledge,
  listErrors,
  posture,
  showSettings,
  listEveryTeam,
  listEveryJob,
  listTierCommand,
  setTierFigure,
  assignTier,
  rotateKeys,
  tail,
  head,
]
