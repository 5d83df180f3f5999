import type { Workbench } from './context.ts'
import { CliError } from './failure.ts'
import { ask } from './prompt.ts'

export const codeOption = {
  type: 'string',
  value: 'CODE',
  summary: 'the code of the authenticator app, or a recovery code; each works once',
} as const

export interface GivenCode {
  method: 'totp' | 'recovery'
  code: string
}

/** Reads a code as people have it before them; the six digits are the app's, everything else is taken for a recovery code. */
export function readCode(text: string): GivenCode {
  const code = text.trim()
  return { method: /^\d{6}$/.test(code.replace(/[ -]/g, '')) ? 'totp' : 'recovery', code }
}

/** Asks for a code of one of the methods that the server offers; refuses where none of them is a code. */
export async function askCode(workbench: Workbench, methods: readonly string[]): Promise<GivenCode> {
  const question = methods.includes('totp') ? 'Code of the authenticator app, or a recovery code' : 'Recovery code'
  if (!hasCodes(methods)) throw needsBrowser()
  return readCode(await ask(workbench, question, 'Say --code CODE'))
}

export function hasCodes(methods: readonly string[]): boolean {
  return methods.includes('totp') || methods.includes('recovery')
}

/** The refusal where only a passkey would do, which a terminal cannot ask for. */
export function needsBrowser(): CliError {
  return new CliError(
    'browser_required',
    'denied',
    'This needs a passkey, which only a browser can ask for',
    'Log in with: hivesync login --browser',
  )
}
