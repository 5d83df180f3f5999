import type { Completion } from './outbox.ts'
import type { Redactor } from './redactor.ts'

/** contracts/jobs.ts, JobFailure: what stands for a secret may be longer than it was. */
const maxMessageLength = 2000

/** The completion without the job's secrets. Its receipt stays as it was measured and signed: it holds no text of the job. */
export function redactCompletion(redactor: Redactor, completion: Completion): Completion {
  const { result, error } = completion
  return {
    ...completion,
    ...(result !== undefined && { result: redactor.value(result) }),
    ...(error !== undefined && {
      error: { code: error.code, message: redactor.text(error.message).slice(0, maxMessageLength) },
    }),
  }
}
