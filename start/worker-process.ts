// The worker as a child of `npm start`: ends with its parent.
import { runWorker } from '../worker/main.ts'

const orphaned = new AbortController()
const onOrphaned = (): void => orphaned.abort(new Error('the parent process is gone'))
process.on('disconnect', onOrphaned)
// It may have gone while the modules were loaded, before anybody listened.
if (process.connected === false) onOrphaned()
process.exitCode = await runWorker({ drain: orphaned.signal })
if (process.connected) process.disconnect()
