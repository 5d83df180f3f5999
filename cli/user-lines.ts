import type { AdministeredUser } from '@hivesync/contracts/admin.ts'
import { fieldLines } from './table.ts'
import type { Line } from './terminal.ts'
import { formatAge } from './units.ts'

/** One person as admins see them. */
export function userLines(user: AdministeredUser, nowMs: number): Line[] {
  const password = user.hasPassword ? 'yes' : 'none'
  return fieldLines([
    ['user', user.username],
    ['id', user.id],
    ['email', `${user.email}${user.emailVerified ? ', proved' : ', not proved'}`],
    ['state', user.isActive ? 'active' : { style: 'yellow', text: 'deactivated' }],
    ['admin', user.isAdmin ? 'yes' : 'no'],
    ['password', user.passwordDisabled ? { style: 'yellow', text: 'disabled until it is reset' } : password],
    ['second factors', user.factors.join(', ') || 'none'],
    ['sessions', String(user.sessions)],
    ['API keys', String(user.apiKeys)],
    ['created', user.createdAt],
    ['last login', user.lastLoginAt === null ? 'never' : formatAge(user.lastLoginAt, nowMs)],
  ])
}
