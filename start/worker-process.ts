// The worker as a child of `npm start`: ends with its parent.
import { runWorker } from '../worker/main.ts'

const orphaned = new AbortController()
process.on('disconnect', () => orphaned.abort(new Error('the parent process is gone')))
process.exitCode = await runWorker({ drain: orphaned.signal })
if (process.connected) process.disconnect()
