export { type CallInput, type Client, type ClientOptions, createClient } from './client.ts'
export { type Credentials, type TokenPair, type TokenStore, toTokenPair } from './credentials.ts'
export {
  type DeviceJwk,
  type DeviceKey,
  type DeviceKeyPair,
  deviceKeyOf,
  generateDeviceJwk,
  importDeviceJwk,
} from './device-key.ts'
export { type ClientCode, HiveSyncError } from './error.ts'
export type { EventsOptions, Reconnect } from './events.ts'
export { type JobEvent, watchJobEvents } from './job-events.ts'
export { listAll } from './pages.ts'
export { isLoopback, type ServerAddress } from './server-address.ts'
export type { ServerSentEvent } from './server-sent-events.ts'
export { type Act, describeAct } from './step-up.ts'
