import { Type } from 'typebox'
import { browserFile } from './accounts.ts'
import { endpoint } from './endpoint.ts'
import { object } from './values.ts'

export const getDevicePage = browserFile(
  'getDevicePage',
  '/account/device',
  'text/html',
  'The page where a person lets a device in; the code may stand in the fragment',
)
export const getInvitationPage = browserFile(
  'getInvitationPage',
  '/account/invitation',
  'text/html',
  'The page where an invitation is taken up; its token stands in the fragment',
)
export const getPasskeysPage = browserFile(
  'getPasskeysPage',
  '/account/passkeys',
  'text/html',
  'The page for passkeys, the authenticator app and recovery codes',
)
export const getExternalPage = endpoint({
  ...browserFile(
    'getExternalPage',
    '/account/external',
    'text/html',
    'The page that the external provider sends the browser back to; whatever else the provider adds to the query is not read',
  ),
  query: Type.Object({}, { patternProperties: { '^.*$': Type.Unknown() } }),
})

/** The scripts of these pages: plain modules, served as they are. */
export const accountScripts = [
  'start.js',
  'screen.js',
  'server.js',
  'session.js',
  'sign-in.js',
  'external.js',
  'passkey.js',
  'prove.js',
  'device.js',
  'invitation.js',
  'passkeys.js',
  'link.js',
] as const

export const getAccountPageScript = endpoint({
  ...browserFile('getAccountPageScript', '/account/scripts/:script', 'text/javascript', 'A script of those pages'),
  params: object({ script: Type.Enum([...accountScripts]) }),
})
