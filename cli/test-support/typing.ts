/** Somebody at the terminal: types each answer when its question appears, in this order. */
export function typing(...answers: readonly (readonly [question: string, answer: string])[]) {
  let next = 0
  let read = 0
  return (stderr: string): string | undefined => {
    const [question, answer] = answers[next] ?? []
    const at = question === undefined ? -1 : stderr.indexOf(question, read)
    if (question === undefined || at === -1) return undefined
    next++
    read = at + question.length
    return answer
  }
}

/** Standard input and standard error are a terminal. */
export const onTerminal = { stdin: true, stderr: true } as const
