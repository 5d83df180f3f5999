// The noun's main file: what other nouns and the wiring may use.
export { cancelJob, retryJob } from './cancel.ts'
export { createDispatcher, type Dispatcher } from './dispatch.ts'
export { readIngestStatus } from './ingest-status.ts'
export { extendLeases, prune, reapLeases, reapWorker, skipExpired } from './reap.ts'
export { endJobs, endRightlessJobs, tellOf } from './rights-lost.ts'
export { storable } from './storable.ts'
export { submitJob } from './submit.ts'
export { workerAwayMs } from './waiting.ts'
