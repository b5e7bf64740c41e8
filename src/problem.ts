/** Failures as `application/problem+json` (RFC 9457), a superset of the first gateway's `{"detail"}`; to gRPC in its own way. */

import { asGatewayError, type GatewayError } from './errors.ts'
import { type Exchange, type Reply, reply } from './exchange.ts'
import { grpcFailure, speaksGrpc } from './grpc.ts'

/** The answer for whatever was thrown or refused. */
export function problemReply(
  exchange: Pick<Exchange, 'id' | 'protocol' | 'headers'>,
  thrown: unknown,
): Reply {
  const error = asGatewayError(thrown)
  if (speaksGrpc(exchange)) return grpcFailure(error)
  const answer = reply(
    error.status,
    ['Content-Type', 'application/problem+json', ...error.headers],
    problemBody(error, exchange.id),
  )
  answer.error = error
  return answer
}

/**
 * `type` is relative to the gateway (RFC 9457 §3.1.1), whose `/docs` page explains every code, unless a standard has a
 * type for the same problem.
 */
export function problemBody(error: GatewayError, requestId: string): string {
  const { code, status, message, reason, members } = error
  const { title, type } = error.entry
  // Of one shape, made without a copy: a refusal is the cheapest of answers, and this is a tenth of it
  const body = { type: type ?? `/docs#${code}`, title, status, detail: message, code, request_id: requestId }
  if (reason === null && members === undefined) return JSON.stringify(body)
  return JSON.stringify({ ...body, ...(reason === null ? {} : { reason }), ...members })
}
