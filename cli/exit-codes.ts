/** What the process ends with, for scripts; `run` ends with the job's own exit code once the command has run. */
export const exitCodes = {
  ok: [0, 'done'],
  failed: [1, 'refused, or the job failed'],
  usage: [2, 'the command line is wrong'],
  denied: [3, 'not logged in, or not allowed'],
  notFound: [4, 'there is no such thing, or it is not yours'],
  unreachable: [5, 'the server cannot be reached, or is not a HiveSync server'],
  conflict: [6, 'conflict with the present state, or the queue is full'],
  temporary: [75, 'the server is busy or limits the rate: try again'],
  configuration: [78, 'the settings or the credentials file cannot be used'],
  interrupted: [130, 'ended by Ctrl-C; a job that was watched goes on unless it says otherwise'],
} as const satisfies Record<string, readonly [code: number, meaning: string]>

/** The number a process ends with for a documented reason. */
export function exitCode(reason: keyof typeof exitCodes): number {
  return exitCodes[reason][0]
}
