/** What the server process tells the one that started it; no token when it could not make one. */
export type FromServer = { event: 'listening'; url: string } | { event: 'enrolment'; token: string | null }
export interface ToServer {
  request: 'enrolment'
}
