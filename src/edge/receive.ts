/** Request → Exchange: what `node:http` parsed, held against what may be believed and forwarded. */

import { randomUUIDv7 } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type ErrorCode, GatewayError } from '../errors.ts'
import { Exchange, type ExchangeObserver, type Handler, type Reply } from '../exchange.ts'
import { problemReply } from '../problem.ts'
import { connectionOptions } from '../wire/fields.ts'
import { METHODS } from '../wire/methods.ts'
import type { RequestFraming } from '../wire/request-head.ts'
import { RequestHeaders } from '../wire/request-headers.ts'
import { Answer } from './answer.ts'
import { isHost } from './client-address.ts'
import type { ClientConnection } from './client-connection.ts'
import { type BodyPace, IncomingBody } from './request-body.ts'

export interface Receiver {
  readonly handle: Handler
  /** The answer for a request that never gets to a route. */
  readonly refuse: (exchange: Exchange, error: GatewayError) => Reply | Promise<Reply>
  readonly observers: readonly ExchangeObserver[]
  readonly draining: () => boolean
  readonly pace: BodyPace
  /** Seconds that a client may take nothing of a streamed answer. */
  readonly sendTimeout: number
}

const MAX_TARGET_LENGTH = 8_192
const MAX_FIELDS = 256
/** Identifiers that are safe in a header, a log line and a shell. */
const SANE_ID = /^[A-Za-z0-9._-]{1,128}$/

const FORWARDABLE: ReadonlySet<string> = new Set(METHODS)

/** For `Allow`, where no route has been asked. */
export const FORWARDABLE_METHODS = METHODS.join(', ')

interface Target {
  /** Origin form. */
  readonly target: string
  /** Host and port as the client gave them, or ''. */
  readonly authority: string
}

/** Takes in one request and sees it to its answer. Never throws. */
export function receive(
  receiver: Receiver,
  connection: ClientConnection,
  request: IncomingMessage,
  response: ServerResponse,
  expectation: 'none' | 'continue' | 'unknown',
): void {
  const headers = new RequestHeaders(request.rawHeaders)
  const read = readTarget(request, headers)
  const fault =
    faultOf(request, headers) ??
    (typeof read === 'string' ? read : null) ??
    (expectation === 'unknown' ? 'expectation_failed' : null)
  const { target, authority } = typeof read === 'string' ? NO_TARGET : read
  const framing = fault === null ? framingOf(headers) : 'none'
  const hasBody = framing === 'chunked' || (typeof framing === 'number' && framing > 0)
  const expectContinue = expectation === 'continue' && hasBody
  const exchange = new Exchange({
    id: requestId(headers),
    startedAt: performance.now(),
    method: request.method ?? '',
    target,
    authority,
    host: hostOf(authority),
    headers,
    nominated: connectionOptions(headers.getAll('connection')),
    client: connection.client(headers, authority),
    framing,
    expectContinue,
    body: hasBody ? new IncomingBody(request, receiver.pace, expectContinue) : null,
  })
  const answer = new Answer(exchange, request, response, {
    connection,
    observers: receiver.observers,
    draining: receiver.draining,
    sendTimeout: receiver.sendTimeout,
  })
  if (fault !== null) {
    // After a message that is not understood nothing behind it can be
    if (fault !== 'method_not_allowed' && fault !== 'expectation_failed') answer.closeAfterwards()
    const headers = fault === 'method_not_allowed' ? ['Allow', FORWARDABLE_METHODS] : []
    const error = new GatewayError(fault, { headers })
    return respond(() => receiver.refuse(exchange, error), answer)
  }
  respond(receiver.handle, answer)
}

function respond(handle: Handler, answer: Answer): void {
  const { exchange } = answer
  let result: Reply | Promise<Reply>
  try {
    result = handle(exchange)
  } catch (thrown) {
    result = problemReply(exchange, thrown)
  }
  if (result instanceof Promise) {
    result.then(
      reply => answer.send(reply),
      thrown => answer.send(problemReply(exchange, thrown)),
    )
  } else answer.send(result)
}

/** What `node:http` lets through and the gateway does not. */
function faultOf(request: IncomingMessage, headers: RequestHeaders): ErrorCode | null {
  const { httpVersion, method = '' } = request
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return 'unsupported_version'
  // RTSP requests pass the parser as HTTP/1.0; the one method that both have came with HTTP/1.1.
  if (httpVersion === '1.0' && method === 'OPTIONS') return 'unsupported_version'
  if (headers.names.length > MAX_FIELDS) return 'headers_too_large'
  const codings = headers.getAll('transfer-encoding')
  if (codings.length > 0) {
    if (httpVersion === '1.0') return 'malformed_request'
    if (codings.length > 1 || codings[0]!.toLowerCase() !== 'chunked') return 'unsupported_coding'
  }
  if (!Number.isSafeInteger(Number(headers.get('content-length') ?? 0))) return 'body_too_large'
  const hosts = headers.getAll('host')
  if (hosts.length > 1 || (hosts.length === 0 && httpVersion === '1.1')) return 'invalid_host'
  if (hosts.length === 1 && !isHost(hosts[0]!)) return 'invalid_host'
  if (method === 'TRACE') return 'method_not_allowed'
  return FORWARDABLE.has(method) ? null : 'unsupported_method'
}

const NO_TARGET: Target = { target: '/', authority: '' }

/** Origin form or absolute form (RFC 9112 §3.2); the latter's authority replaces Host. */
function readTarget(request: IncomingMessage, headers: RequestHeaders): Target | ErrorCode {
  const url = request.url ?? ''
  if (url.length > MAX_TARGET_LENGTH) return 'target_too_long'
  if (url.charCodeAt(0) === 0x2f) return { target: url, authority: headers.get('host') ?? '' }
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(url)
  if (absolute === null) return 'invalid_target'
  const [, authority, rest] = absolute
  if (!isHost(authority!)) return 'invalid_target'
  return { target: rest!.startsWith('/') ? rest! : `/${rest}`, authority: authority! }
}

/** `node:http` has refused what is contradictory; this only reads what is left. */
function framingOf(headers: RequestHeaders): RequestFraming {
  if (headers.get('transfer-encoding') !== undefined) return 'chunked'
  const length = headers.get('content-length')
  return length === undefined ? 'none' : Number(length)
}

/** Lower case, without port and without the dot that marks a name as fully qualified. */
function hostOf(authority: string): string {
  return authority.replace(/\.?(?::\d*)?$/, '').toLowerCase()
}

function requestId(headers: RequestHeaders): string {
  const sent = headers.get('x-request-id')
  return sent !== undefined && SANE_ID.test(sent) ? sent : randomUUIDv7()
}
