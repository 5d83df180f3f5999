import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { hashText } from './base64url.ts'
import { writeBody } from './request.ts'

/** A sensitive act in the words of `POST /api/v1/auth/step-up`. */
export interface Act {
  operation: string
  params?: Record<string, string>
  bodyDigest?: string
}

/**
 * Describes a call that needs a fresh proof of the person (requirement A8): the proof is good for exactly these parameters and for the bytes
 * of exactly this body, as `client.call` will send them with the same `params` and `body`.
 */
export async function describeAct(endpoint: Endpoint, input: { params?: object; body?: unknown }): Promise<Act> {
  const { params } = input
  const body = writeBody(endpoint, input.body)
  return {
    operation: endpoint.name,
    ...(params === undefined
      ? {}
      : { params: Object.fromEntries(Object.entries(params).map(([name, value]) => [name, String(value)])) }),
    ...(body === undefined ? {} : { bodyDigest: await hashText(body) }),
  }
}
