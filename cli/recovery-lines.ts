/** What is said beside new recovery codes. */
export const recoveryLines = [
  'Recovery codes, each good once in place of the second factor, shown this once. Keep them where you keep passwords,',
  'not on the phone with the app:',
] as const
