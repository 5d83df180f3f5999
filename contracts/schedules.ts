import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Job, NewJob } from './jobs.ts'
import { Id, Name, nullable, object, PageQuery, page, Time } from './values.ts'

/** Five fields: minute, hour, day of month, month, day of week; `*`, lists, ranges, steps, `MON` and `JAN`, `L` and `#`. */
export const Cron = Type.String({ minLength: 1, maxLength: 200 })
/** A name of the IANA time zone database, such as `Europe/Berlin`. */
export const TimeZone = Type.String({ minLength: 1, maxLength: 64 })
/** What becomes of runs that nobody was there to start: they are left out, or one takes the place of them all. */
export const MissedRuns = Type.Enum(['skip', 'run_once'])
/** What becomes of a run that is due while a job of the schedule has not ended. */
export const Overlap = Type.Enum(['skip', 'allow'])

export const Schedule = object({
  id: Id,
  projectId: Id,
  name: Type.String(),
  cron: Type.String(),
  timeZone: Type.String(),
  missedRuns: MissedRuns,
  overlap: Overlap,
  /** What each run submits; of secrets the names only, as `secretNames` of the input. */
  submission: Type.Record(Type.String(), Type.Unknown()),
  submittedBy: nullable(Id),
  createdAt: Time,
  pausedAt: nullable(Time),
  nextRunAt: nullable(Time),
  /** The next three runs; none while it is paused. */
  nextRuns: Type.Array(Time, { maxItems: 3 }),
  lastRunAt: nullable(Time),
  lastJobId: nullable(Id),
  /** Why the last due run submitted no job: a code of docs/errors.md, or `rights_ended`, `still_running`, `secrets_unreadable`; null when it did. */
  lastRefusal: nullable(Type.String()),
})
export type Schedule = Static<typeof Schedule>

const settings = {
  missedRuns: Type.Optional(MissedRuns),
  overlap: Type.Optional(Overlap),
}
export const NewSchedule = object({
  name: Name,
  cron: Cron,
  timeZone: Type.Optional(TimeZone),
  ...settings,
  job: NewJob,
})
export type NewSchedule = Static<typeof NewSchedule>
export const ScheduleChange = object({
  name: Type.Optional(Name),
  cron: Type.Optional(Cron),
  timeZone: Type.Optional(TimeZone),
  ...settings,
  job: Type.Optional(NewJob),
  paused: Type.Optional(Type.Boolean()),
})
export type ScheduleChange = Static<typeof ScheduleChange>

const path = '/api/v1/projects/:projectId/schedules'
const projectParams = object({ projectId: Id })
const scheduleParams = object({ projectId: Id, scheduleId: Id })
const maxBodyBytes = 1024 * 1024

export const createSchedule = endpoint({
  name: 'createSchedule',
  summary: 'Submit a job again and again, by the rights of whoever made or last changed the schedule',
  method: 'POST',
  path,
  access: 'jobs:write',
  limit: 'write',
  params: projectParams,
  body: NewSchedule,
  maxBodyBytes,
  status: 201,
  reply: Schedule,
  errors: ['project_not_found', 'permission_denied', 'project_archived', 'repository_refused', 'too_many_schedules'],
})

export const listSchedules = endpoint({
  name: 'listSchedules',
  summary: 'The schedules of a project, newest first',
  method: 'GET',
  path,
  access: 'jobs:read',
  limit: 'read',
  params: projectParams,
  query: object(PageQuery),
  status: 200,
  reply: page(Schedule),
  errors: ['project_not_found'],
})

export const getSchedule = endpoint({
  name: 'getSchedule',
  summary: 'One schedule, with its next runs and what became of the last one',
  method: 'GET',
  path: `${path}/:scheduleId`,
  access: 'jobs:read',
  limit: 'read',
  params: scheduleParams,
  status: 200,
  reply: Schedule,
  errors: ['project_not_found', 'schedule_not_found'],
})

export const updateSchedule = endpoint({
  name: 'updateSchedule',
  summary:
    'Change, pause or resume a schedule; whoever changes more than pausing it is whose rights it acts with from then on',
  method: 'PATCH',
  path: `${path}/:scheduleId`,
  access: 'jobs:write',
  limit: 'write',
  params: scheduleParams,
  body: ScheduleChange,
  maxBodyBytes,
  status: 200,
  reply: Schedule,
  errors: ['project_not_found', 'permission_denied', 'schedule_not_found', 'project_archived', 'repository_refused'],
})

export const deleteSchedule = endpoint({
  name: 'deleteSchedule',
  summary: 'Delete a schedule; the jobs that it submitted stay',
  method: 'DELETE',
  path: `${path}/:scheduleId`,
  access: 'jobs:write',
  limit: 'write',
  params: scheduleParams,
  status: 204,
  reply: null,
  errors: ['project_not_found', 'permission_denied', 'schedule_not_found'],
})

export const runSchedule = endpoint({
  name: 'runSchedule',
  summary: 'Submit the job of a schedule now, by the rights of whoever asks; its times stay as they are',
  method: 'POST',
  path: `${path}/:scheduleId/run`,
  access: 'jobs:write',
  limit: 'write',
  params: scheduleParams,
  status: 201,
  reply: Job,
  errors: [
    'project_not_found',
    'permission_denied',
    'schedule_not_found',
    'project_archived',
    'queue_full',
    'repository_refused',
  ],
})
