/** The gateway's own failures as clients of gRPC understand them. */

import type { GatewayError } from './errors.ts'
import { type Exchange, type Reply, reply } from './exchange.ts'
import { now } from './wire/clock.ts'
import type { FieldLines } from './wire/fields.ts'
import { encodeMessage, isGrpcType, parseTimeout } from './wire/grpc.ts'

/** There is no gRPC but over HTTP/2. */
export function speaksGrpc({ protocol, headers }: Pick<Exchange, 'protocol' | 'headers'>): boolean {
  return protocol === 'HTTP/2' && isGrpcType(headers.get('content-type'))
}

/** Milliseconds until the deadline that the client of a call has set, or null. One that cannot be read is none. */
export function callTimeLeft({ headers, startedAt }: Pick<Exchange, 'headers' | 'startedAt'>): number | null {
  const text = headers.get('grpc-timeout')
  const timeout = text === undefined ? null : parseTimeout(text)
  return timeout === null ? null : startedAt + timeout - now()
}

/** Has `passed` called at the deadline of a call, or soon where that lies behind; null: there is none. */
export function callTimer(exchange: Exchange, passed: () => void): NodeJS.Timeout | null {
  const left = callTimeLeft(exchange)
  // Longer than timers can wait, it is longer than anyone will.
  return left === null || left >= 2 ** 31 ? null : setTimeout(passed, left)
}

const UNKNOWN = 2

/** Status of gRPC for each status of HTTP that the gateway answers with. */
const STATUSES: Readonly<Record<number, number>> = {
  400: 3, // INVALID_ARGUMENT
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 12, // UNIMPLEMENTED
  405: 12,
  408: 4, // DEADLINE_EXCEEDED
  413: 8, // RESOURCE_EXHAUSTED
  414: 3,
  417: 3,
  426: 12,
  429: 8,
  431: 8,
  499: 1, // CANCELLED
  500: 13, // INTERNAL
  501: 12,
  502: 14, // UNAVAILABLE
  503: 14,
  504: 4,
  505: 12,
}

export function grpcStatusOf(error: GatewayError): number {
  return STATUSES[error.status] ?? UNKNOWN
}

/** How a call ends that has gone wrong: in the place of its answer, or behind what was sent of it. */
export function grpcTrailers(error: GatewayError): FieldLines {
  const { message, reason } = error
  const text = reason === null ? message : `${message} ${reason}`
  return ['grpc-status', String(grpcStatusOf(error)), 'grpc-message', encodeMessage(text)]
}

/** "Trailers-Only": an answer of HTTP that is fine, to a call that is not. */
export function grpcFailure(error: GatewayError): Reply {
  const answer = reply(200, ['content-type', 'application/grpc', ...error.headers, ...grpcTrailers(error)])
  answer.error = error
  return answer
}
