/** Failures as `application/problem+json` (RFC 9457), a superset of the first gateway's `{"detail"}`; to gRPC in its own way. */

import { asGatewayError } from './errors.ts'
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
    problemBody(error.code, error.status, error.entry.title, error.message, exchange.id, error.reason),
  )
  answer.error = error
  return answer
}

/** `type` is relative to the gateway (RFC 9457 §3.1.1): its `/docs` page explains every code. */
export function problemBody(
  code: string,
  status: number,
  title: string,
  detail: string,
  requestId: string,
  reason: string | null = null,
): string {
  return JSON.stringify({
    type: `/docs#${code}`,
    title,
    status,
    detail,
    code,
    ...(reason === null ? {} : { reason }),
    request_id: requestId,
  })
}
