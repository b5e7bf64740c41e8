/** Request → Exchange: what the parser understood, held against what may be believed and forwarded. */

import { type ErrorCode, GatewayError } from '../errors.ts'
import { Exchange, type ExchangeObserver, type Handler, type Reply } from '../exchange.ts'
import type { Lifetimes } from '../lifetimes.ts'
import { problemReply } from '../problem.ts'
import { now } from '../wire/clock.ts'
import { METHODS } from '../wire/methods.ts'
import type { RequestHeaders } from '../wire/request-headers.ts'
import type { RequestMessage } from '../wire/request-parser.ts'
import { asksForWebSocket } from '../wire/websocket-handshake.ts'
import { Answer, type AnswerContext } from './answer.ts'
import { clientOf, isHost, type TrustedProxies } from './client-address.ts'
import type { ClientConnection } from './client-connection.ts'
import type { BodyPace, IncomingBody } from './request-body.ts'
import { newRequestId } from './request-id.ts'

export interface Receiver {
  readonly handle: Handler
  /** The answer for a request that never gets to a route. */
  readonly refuse: (exchange: Exchange, error: GatewayError) => Reply | Promise<Reply>
  readonly observers: readonly ExchangeObserver[]
  readonly draining: () => boolean
  readonly lifetimes: Lifetimes
  /** Asked with each answer: should this client come back through another connection? */
  readonly shed: (openedAt: number) => boolean
  readonly pace: BodyPace
  /** Seconds that a client may take nothing of a streamed answer. */
  readonly sendTimeout: number
}

export const MAX_TARGET_LENGTH = 8_192
const MAX_FIELDS = 256
/** Identifiers that are safe in a header, a log line and a shell. */
const SANE_ID = /^[A-Za-z0-9._-]{1,128}$/

const FORWARDABLE: ReadonlySet<string> = new Set(METHODS)

/** For `Allow`, where no route has been asked. */
const FORWARDABLE_METHODS = METHODS.join(', ')

/** What the header section of a request says, apart from its target: the same for the same section. */
interface HeaderFacts {
  readonly hostFault: boolean
  /** The Host as the client gave it, or ''. */
  readonly authority: string
  /** Lower case, without port. */
  readonly host: string
  /** What Connection asks for; null: the version's default. */
  readonly persistent: boolean | null
  readonly expectation: 'none' | 'continue' | 'unknown'
  /** A WebSocket is asked for. */
  readonly upgrade: boolean
}

export function factsOf(headers: RequestHeaders): HeaderFacts {
  const hosts = headers.getAll('host')
  const connection = headers.getAll('connection')
  const expected = headers.get('expect')
  const host = hosts.length === 1 && isHost(hosts[0]!) ? hostOf(hosts[0]!) : null
  return {
    hostFault: hosts.length > 0 && host === null,
    authority: host === null ? '' : hosts[0]!,
    host: host ?? '',
    persistent: connection.length === 0 ? null : persistenceOf(connection.join(',').toLowerCase()),
    expectation:
      expected === undefined ? 'none' : expected.toLowerCase() === '100-continue' ? 'continue' : 'unknown',
    upgrade: asksForWebSocket(headers),
  }
}

function persistenceOf(connection: string): boolean | null {
  if (connection === '') return null
  const options = connection.split(',').map(option => option.trim())
  return options.includes('close') ? false : options.includes('keep-alive') ? true : null
}

type MessageFacts = Pick<RequestMessage, 'method' | 'minor' | 'headers'>

interface Target {
  /** Origin form. */
  readonly target: string
  /** Host and port of an absolute form, else null. */
  readonly authority: string | null
}

const NO_TARGET: Target = { target: '/', authority: null }

/** @returns what takes in one request and sees it to its answer. It never throws. */
export function createReceive(receiver: Receiver, trusted: TrustedProxies, keepAliveTimeout: number) {
  const context = contextOf(receiver, keepAliveTimeout)

  return function receive(
    connection: ClientConnection,
    message: RequestMessage,
    body: IncomingBody | null,
  ): void {
    const { method, minor, headers } = message
    const facts = headers.derived.get(factsOf, factsOf)
    const read = readTarget(message.target)
    const fault = faultOf(message, facts) ?? (typeof read === 'string' ? read : null)
    const { target, authority } = typeof read === 'string' ? NO_TARGET : read
    const expectContinue = facts.expectation === 'continue' && body !== null && minor === 1
    if (expectContinue) body.holdBack()
    const exchange = new Exchange({
      id: requestId(headers),
      startedAt: now(),
      method,
      target,
      authority: authority ?? facts.authority,
      host: authority === null ? facts.host : hostOf(authority),
      headers,
      client: clientOf(connection, authority ?? facts.authority, headers, trusted),
      framing: fault === null ? message.framing : 'none',
      expectContinue,
      body: fault === null ? body : null,
      protocol: minor === 1 ? 'HTTP/1.1' : 'HTTP/1.0',
      // RFC 9110 §7.8: in HTTP/1.0 it means nothing
      upgrade: facts.upgrade && minor === 1,
    })
    const persistent = facts.persistent ?? minor === 1
    const answer = new Answer(exchange, connection, { minor, persistent, body }, context)
    if (fault === null) return respond(receiver.handle, answer)
    // After a message that is not understood nothing behind it can be
    if (fault !== 'method_not_allowed' && fault !== 'expectation_failed') answer.closeAfterwards()
    respond(() => receiver.refuse(exchange, refusalOf(fault)), answer)
  }
}

export function contextOf(receiver: Receiver, keepAliveTimeout: number): AnswerContext {
  return {
    observers: receiver.observers,
    draining: receiver.draining,
    lifetimes: receiver.lifetimes,
    shed: receiver.shed,
    sendTimeout: receiver.sendTimeout,
    keepAliveLines: `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveTimeout)}\r\n`,
  }
}

/** An answer to come, over whichever version of HTTP. */
interface Answering {
  readonly exchange: Exchange
  send(reply: Reply): void
}

/** Has an exchange handled, and its answer sent whatever becomes of that. */
export function respond(handle: Handler, answer: Answering): void {
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

export function refusalOf(fault: ErrorCode): GatewayError {
  const allow = fault === 'method_not_allowed' ? ['Allow', FORWARDABLE_METHODS] : []
  return new GatewayError(fault, { headers: allow })
}

/** What is a message, and yet nothing that the gateway takes. */
export function faultOf({ method, minor, headers }: MessageFacts, facts: HeaderFacts): ErrorCode | null {
  if (headers.names.length > MAX_FIELDS) return 'headers_too_large'
  if (facts.hostFault || (facts.authority === '' && minor === 1)) return 'invalid_host'
  if (!FORWARDABLE.has(method))
    return method === 'TRACE' || method === 'CONNECT' ? 'method_not_allowed' : 'unsupported_method'
  return facts.expectation === 'unknown' && minor === 1 ? 'expectation_failed' : null
}

/** Origin form or absolute form (RFC 9112 §3.2); the latter's authority replaces Host. */
function readTarget(text: string): Target | ErrorCode {
  if (text.length > MAX_TARGET_LENGTH) return 'target_too_long'
  if (text.charCodeAt(0) === 0x2f) return { target: text, authority: null }
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(text)
  if (absolute === null) return 'invalid_target'
  const [, authority, rest] = absolute
  if (!isHost(authority!)) return 'invalid_target'
  return { target: rest!.startsWith('/') ? rest! : `/${rest}`, authority: authority! }
}

/** Lower case, without port and without the dot that marks a name as fully qualified. */
function hostOf(authority: string): string {
  return authority.replace(/\.?(?::\d*)?$/, '').toLowerCase()
}

export function requestId(headers: RequestHeaders): string {
  const sent = headers.get('x-request-id')
  return sent !== undefined && SANE_ID.test(sent) ? sent : newRequestId()
}
