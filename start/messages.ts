/** What the server process tells the one that started it. */
export type FromServer = { event: 'listening'; url: string } | { event: 'enrolment'; token: string }
export interface ToServer {
  request: 'enrolment'
}
