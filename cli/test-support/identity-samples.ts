import type { AdministeredUser, ListedUser } from '@hivesync/contracts/admin.ts'
import type { Factor } from '@hivesync/contracts/mfa.ts'
import type { Invitation, Team, TeamMember } from '@hivesync/contracts/teams.ts'
import { idOf, user } from '../../sdk/test-support/samples.ts'

const time = user.createdAt
export const stepUpToken = 'proof-of-the-person'

export const team: Team = {
  id: idOf(50),
  name: 'Crew',
  tier: 'free',
  isPersonal: false,
  role: 'owner',
  createdAt: time,
}
export const member: TeamMember = { userId: idOf(51), username: 'grace', role: 'member', createdAt: time }
export const invitation: Invitation = {
  id: idOf(52),
  teamId: team.id,
  email: 'new@example.org',
  role: 'member',
  createdAt: time,
  expiresAt: '2026-02-02T03:04:05.678Z',
}
export const factor: Factor = { id: idOf(53), kind: 'totp', name: 'Phone', createdAt: time, lastUsedAt: null }
export const listedUser: ListedUser = {
  id: member.userId,
  username: member.username,
  email: 'g…@example.org',
  isActive: true,
  isAdmin: false,
  createdAt: time,
  lastLoginAt: null,
}
export const administeredUser: AdministeredUser = {
  ...listedUser,
  email: 'grace@example.org',
  emailVerified: true,
  hasPassword: true,
  passwordDisabled: false,
  factors: ['totp'],
  sessions: 1,
  apiKeys: 0,
}
