import { type TObject, Type } from 'typebox'
import { Id, nullable, object, RequestId } from './values.ts'

interface WebhookEvent {
  /** Grows when `data` changes in a way that a receiver could trip over. Members may be added without. */
  readonly version: number
  readonly description: string
  readonly data: TObject
  readonly example: Readonly<Record<string, string | number | null>>
}

const exampleId = (digit: number): string => `01934567-89ab-7cde-8f01-23456789000${digit}`

const job = (description: string): WebhookEvent => ({
  version: 1,
  description,
  data: object({ jobId: Id, projectId: Id, kind: Type.String(), requestId: Type.Optional(RequestId) }),
  example: { jobId: exampleId(1), projectId: exampleId(2), kind: 'compute', requestId: exampleId(7) },
})
const project = (description: string): WebhookEvent => ({
  version: 1,
  description,
  data: object({ projectId: Id }),
  example: { projectId: exampleId(2) },
})
const member = (description: string): WebhookEvent => ({
  version: 1,
  description: `${description}; projectId is null for the team itself, role for whoever is gone`,
  data: object({ userId: Id, projectId: nullable(Id), role: nullable(Type.String()) }),
  example: { userId: exampleId(3), projectId: null, role: 'member' },
})
const worker = (description: string): WebhookEvent => ({
  version: 1,
  description,
  data: object({ workerId: Id }),
  example: { workerId: exampleId(4) },
})
const apiKey = (description: string): WebhookEvent => ({
  version: 1,
  description: `${description}; of a key for one project, told to the project's team`,
  data: object({ apiKeyId: Id, projectId: nullable(Id) }),
  example: { apiKeyId: exampleId(5), projectId: exampleId(2) },
})

/** Everything that a webhook can tell, by type. Payloads are thin: ids and states, to be looked up with one's own rights; never a secret or anything of a repository. */
export const webhookEvents = {
  'job.submitted': job('A job was put into its queue'),
  'job.succeeded': job('A job ended well'),
  'job.failed': job('A job failed for good: no attempt is left, nothing retries it by itself'),
  'job.canceled': job('A job was canceled, or lost the rights it stood on'),
  'job.skipped': job('A job waited past its time to live and never ran'),
  'project.created': project('A project was made in the team'),
  'project.updated': project('A project was renamed, archived or restored'),
  'member.added': member('Somebody came into the team or a project'),
  'member.changed': member('Somebody has another role'),
  'member.removed': member('Somebody left, or was taken out'),
  'worker.enrolled': worker('A worker of the team was enrolled'),
  'worker.revoked': {
    version: 1,
    description: 'A worker of the team was revoked, or is gone: it signed off, or fell silent and was retired',
    data: object({ workerId: Id, reason: Type.Enum(['revoked', 'signed_off', 'retired']) }),
    example: { workerId: exampleId(4), reason: 'revoked' },
  },
  'api_key.created': apiKey('An API key was made'),
  'api_key.revoked': apiKey('An API key was revoked'),
  'alert.raised': {
    version: 1,
    description: 'Something on the server wants a person; told to the own teams of its admins',
    data: object({
      alertId: Id,
      kind: Type.String(),
      subject: Type.String(),
      severity: Type.Enum(['warning', 'critical']),
    }),
    example: { alertId: exampleId(8), kind: 'worker_away', subject: exampleId(4), severity: 'warning' },
  },
  'webhook.disabled': {
    version: 1,
    description: 'An endpoint of the team was disabled: it answered 410, or nothing but failures for five days',
    data: object({ webhookId: Id, reason: Type.Enum(['gone', 'failing']) }),
    example: { webhookId: exampleId(6), reason: 'failing' },
  },
  'webhook.test': {
    version: 1,
    description: 'Somebody asked for a test; it comes to that endpoint alone, whatever it listens to',
    data: object({ webhookId: Id }),
    example: { webhookId: exampleId(6) },
  },
} as const satisfies Record<string, WebhookEvent>

export type WebhookEventType = keyof typeof webhookEvents
export const webhookEventTypes = Object.keys(webhookEvents) as WebhookEventType[]

export function isWebhookEventType(type: string): type is WebhookEventType {
  return Object.hasOwn(webhookEvents, type)
}

/** What an endpoint can ask for: a type, all of a noun, or everything. */
export const webhookFilters = [
  '*',
  ...new Set(webhookEventTypes.map((type) => `${type.split('.')[0]}.*`)),
  ...webhookEventTypes,
]

/** Whether a filter lets a type through. A type that comes with a later version is let through by `*` and `noun.*` without being asked for. */
export function matchesFilter(filter: string, type: string): boolean {
  return filter === '*' || filter === type || (filter.endsWith('.*') && type.startsWith(filter.slice(0, -1)))
}
