/** What a team's plan allows (requirement I4); the figures are those of requirements.md, "Tiers and retention". */
export const tiers = {
  free: { waitingJobs: 10, runningJobs: 2 },
  pro: { waitingJobs: 100, runningJobs: 10 },
  enterprise: { waitingJobs: 1000, runningJobs: 50 },
} as const
export type Tier = keyof typeof tiers

export function isTier(name: string): name is Tier {
  return Object.hasOwn(tiers, name)
}
