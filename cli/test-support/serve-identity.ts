import * as admin from '@hivesync/contracts/admin.ts'
import { changePassword, requestPasswordReset } from '@hivesync/contracts/credentials.ts'
import { approveDeviceLogin, denyDeviceLogin, getDeviceLogin } from '@hivesync/contracts/device-login.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import * as oversight from '@hivesync/contracts/oversight.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import * as tiers from '@hivesync/contracts/tiers.ts'
import type { Peer } from '../../sdk/test-support/peer.ts'
import { session, tokensOf, user } from '../../sdk/test-support/samples.ts'
import { administeredUser, factor, invitation, listedUser, member, stepUpToken, team } from './identity-samples.ts'

/** The part of `serveEverything` that is about people: one user with a password, an authenticator app and one team. */
export function serveIdentity(peer: Peer): void {
  peer.on(sessions.listSessions, () => ({ items: [session], nextCursor: null }))
  peer.on(sessions.refresh, () => ({ ...tokensOf(2), session: { ...session, deviceBound: true } }))
  peer.on(sessions.revokeSession, () => undefined)
  peer.on(sessions.revokeOtherSessions, () => undefined)
  peer.on(changePassword, () => undefined)
  peer.on(requestPasswordReset, () => undefined)
  const asked = { deviceName: 'edge box', ip: '192.0.2.0', createdAt: user.createdAt, expiresAt: session.expiresAt }
  peer.on(getDeviceLogin, () => asked)
  peer.on(approveDeviceLogin, () => undefined)
  peer.on(denyDeviceLogin, () => undefined)
  serveProofs(peer)
  serveTeams(peer)
  serveAdmin(peer)
}

function serveProofs(peer: Peer): void {
  peer.on(mfa.startStepUp, () => ({ methods: ['password' as const], passkey: null }))
  peer.on(mfa.stepUp, () => ({ stepUpToken, expiresAt: session.expiresAt }))
  peer.on(mfa.listFactors, () => ({ items: [factor], recoveryCodesLeft: 9 }))
  peer.on(mfa.removeTotp, () => undefined)
  peer.on(mfa.renewRecoveryCodes, () => ({ recoveryCodes: ['AAAAAA-BBBBBB-CCCCCC-DDDDDD'] }))
}

function serveTeams(peer: Peer): void {
  peer.on(teams.listTeams, () => ({ items: [team], nextCursor: null }))
  peer.on(teams.createTeam, ({ body }) => ({ ...team, name: body.name }))
  peer.on(teams.updateTeam, ({ body }) => ({ ...team, name: body.name }))
  peer.on(teams.deleteTeam, () => undefined)
  peer.on(teams.transferTeam, () => team)
  peer.on(teams.listTeamMembers, () => ({ items: [member], nextCursor: null }))
  peer.on(teams.changeTeamMember, ({ body }) => ({ ...member, role: body.role }))
  peer.on(teams.removeTeamMember, () => undefined)
  peer.on(teams.createInvitation, () => invitation)
  peer.on(teams.listInvitations, () => ({ items: [invitation], nextCursor: null }))
  peer.on(teams.revokeInvitation, () => undefined)
  peer.on(teams.acceptInvitation, () => team)
  peer.on(teams.inviteToServer, () => ({ ...invitation, teamId: null, role: null }))
}

const tier: tiers.ListedTier = {
  ...{
    name: 'pro',
    rateMultiplier: 5,
    waitingJobs: 100,
    runningJobs: 10,
    weight: 4,
    bundleBytes: 5e8,
    storedBytes: 5e10,
  },
  ...{ previewMinutes: 60, aiTokensPerMonth: 5e6, webhookEndpoints: 50, bodyBytes: 1048576, headerBytes: 16384 },
  ...{ stringLength: 1048576, arrayItems: 10000, pageItems: 200, updatedAt: null },
}

const alert: oversight.Alert = {
  ...{ id: '01890000-0000-7000-8000-000000000000', kind: 'worker_away', subject: '', severity: 'warning', detail: 'd' },
  ...{ raisedAt: user.createdAt, lastAt: user.createdAt, endedAt: null, acknowledgedAt: null, acknowledgedBy: null },
}

function serveAdmin(peer: Peer): void {
  peer.on(oversight.listAllTeams, () => ({
    items: [
      { ...team, members: 1, projects: 2, waitingJobs: 3, runningJobs: 1, storedBytes: 5, tier: 'pro' as const },
    ].map(({ role: _, ...each }) => each),
    nextCursor: null,
  }))
  peer.on(oversight.listAllJobs, () => ({ items: [], nextCursor: null }))
  peer.on(oversight.listAlerts, () => ({ items: [alert], nextCursor: null }))
  peer.on(oversight.acknowledgeAlert, () => alert)
  peer.on(oversight.listFaults, () => ({
    items: [
      {
        fingerprint: 'f',
        event: 'e',
        errorName: 'TypeError',
        message: 'm',
        stack: null,
        count: 2,
        firstAt: user.createdAt,
        lastAt: user.createdAt,
        lastRequestId: null,
      },
    ],
  }))
  peer.on(oversight.getPosture, () => ({ items: [{ name: 'mail', state: 'advice' as const, detail: 'd', fix: 'f' }] }))
  peer.on(oversight.listSettings, () => ({
    items: [{ name: 'HIVESYNC_PORT', value: '1', isSecret: false, from: 'environment' as const }],
  }))
  peer.on(tiers.listTiers, () => ({ items: [tier] }))
  peer.on(tiers.changeTier, ({ body }) => ({ ...tier, ...body }))
  peer.on(tiers.setTeamTier, () => undefined)
  peer.on(admin.listUsers, () => ({ items: [listedUser], nextCursor: null }))
  peer.on(admin.getUser, () => administeredUser)
  peer.on(admin.deactivateUser, () => ({ ...administeredUser, isActive: false }))
  peer.on(admin.activateUser, () => administeredUser)
  peer.on(admin.setUserRole, ({ body }) => ({ ...administeredUser, isAdmin: body.isAdmin }))
  peer.on(admin.endUserSessions, () => undefined)
  peer.on(admin.startUserReset, () => undefined)
  const key = {
    id: 'kid-1',
    state: 'current' as const,
    createdAt: user.createdAt,
    signsFrom: user.createdAt,
    retiresAt: null,
  }
  peer.on(sessions.rotateSigningKeys, () => ({
    rotated: true,
    current: key,
    next: { ...key, id: 'kid-2', state: 'next' as const },
    previous: [{ ...key, id: 'kid-0', state: 'previous' as const, retiresAt: user.createdAt }],
  }))
}
