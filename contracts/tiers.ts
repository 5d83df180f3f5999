import { type Static, Type } from 'typebox'
import { endpoint } from './endpoint.ts'
import { Id, nullable, object, Time } from './values.ts'

export const tierNames = ['free', 'pro', 'enterprise'] as const
export type Tier = (typeof tierNames)[number]
export const TierName = Type.Union([Type.Literal('free'), Type.Literal('pro'), Type.Literal('enterprise')])

/** No plan takes a larger source bundle. */
export const maxBundleBytes = 2e9

const bounds = {
  rateMultiplier: [1, 1000, 'How many times the usual rate limits'],
  waitingJobs: [1, 1_000_000, 'Waiting jobs of one project and queue'],
  runningJobs: [1, 100_000, 'Running jobs of a team'],
  weight: [1, 1000, 'Share of busy workers beside other teams'],
  bundleBytes: [0, maxBundleBytes, 'Largest source bundle'],
  storedBytes: [0, 1e15, 'Artifacts and bundles of a team, together'],
  previewMinutes: [1, 1440, 'Longest life of a preview token'],
  aiTokensPerMonth: [0, 1e12, 'AI tokens of a team in a month'],
  webhookEndpoints: [0, 10_000, 'Webhook endpoints of a team'],
  bodyBytes: [65_536, 1_048_576, 'Largest JSON body'],
  headerBytes: [4096, 16_384, 'Headers of a request, together'],
  stringLength: [1024, 1_048_576, 'Longest text in a body'],
  arrayItems: [100, 10_000, 'Longest list in a body'],
  pageItems: [10, 200, 'Longest page of a list'],
} as const
type Figure = keyof typeof bounds

const figures = Object.fromEntries(
  Object.entries(bounds).map(([name, [minimum, maximum, description]]) => [
    name,
    Type.Integer({ minimum, maximum, description }),
  ]),
) as { [K in Figure]: ReturnType<typeof Type.Integer> }
const changes = Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, Type.Optional(figure)])) as {
  [K in Figure]: ReturnType<typeof Type.Optional<ReturnType<typeof Type.Integer>>>
}

/** What a plan allows (requirement I4). */
export const TierLimits = object(figures)
export type TierLimits = Static<typeof TierLimits>
export const ListedTier = object({ name: TierName, ...figures, updatedAt: nullable(Time) })
export type ListedTier = Static<typeof ListedTier>

export const listTiers = endpoint({
  name: 'listTiers',
  summary: 'What each plan allows',
  method: 'GET',
  path: '/api/v1/admin/tiers',
  access: 'admin',
  limit: 'admin',
  status: 200,
  reply: object({ items: Type.Array(ListedTier) }),
  errors: [],
})

export const changeTier = endpoint({
  name: 'changeTier',
  summary: 'Change what a plan allows; it holds for all its teams at once, and what runs or is stored already stays',
  method: 'PATCH',
  path: '/api/v1/admin/tiers/:tier',
  access: 'admin',
  limit: 'admin',
  stepUp: true,
  params: object({ tier: TierName }),
  body: object(changes),
  status: 200,
  reply: ListedTier,
  errors: [],
})

export const setTeamTier = endpoint({
  name: 'setTeamTier',
  summary: 'Put a team on another plan',
  method: 'PUT',
  path: '/api/v1/admin/teams/:teamId/tier',
  access: 'admin',
  limit: 'admin',
  stepUp: true,
  params: object({ teamId: Id }),
  body: object({ tier: TierName }),
  status: 204,
  reply: null,
  errors: ['team_not_found'],
})
