/** What a team's plan allows (requirement I4); the figures are those of requirements.md, "Tiers and retention". `weight`: its share of busy workers beside others. Sizes in bytes. */
export const tiers = {
  free: { waitingJobs: 10, runningJobs: 2, weight: 1, bundleBytes: 50e6, storedBytes: 1e9 },
  pro: { waitingJobs: 100, runningJobs: 10, weight: 4, bundleBytes: 500e6, storedBytes: 50e9 },
  enterprise: { waitingJobs: 1000, runningJobs: 50, weight: 16, bundleBytes: 2e9, storedBytes: 500e9 },
} as const
export type Tier = keyof typeof tiers

export function isTier(name: string): name is Tier {
  return Object.hasOwn(tiers, name)
}
