/**
 * The only place that writes to clients. One answer for each exchange: its head once, its body with backpressure, and
 * its end settled exactly once, whether it went well or not.
 */

import { GatewayError } from '../errors.ts'
import type { EarlyAnswers, Exchange, ExchangeObserver, Reply, UpstreamTunnel } from '../exchange.ts'
import type { Lifetimes } from '../lifetimes.ts'
import { problemReply } from '../problem.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, sooner, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { type FieldLines, passableTrailers } from '../wire/fields.ts'
import {
  encodeInformational,
  encodeResponseHead,
  encodeUpgradeHead,
  type ResponseFraming,
} from '../wire/response-head.ts'
import { writeWhole } from '../wire/whole-message.ts'
import { BodyWriter } from './body-writer.ts'
import type { ClientConnection } from './client-connection.ts'
import { reset } from './closing.ts'
import type { IncomingBody } from './request-body.ts'
import { settle } from './settle.ts'
import { beginTunnel } from './tunnel.ts'

/** Behind the rest of a request body up to this size the connection can go on. */
export const DRAINABLE_BYTES = 65_536
/** Seconds that the rest of a request gets, after its answer, to be read and dropped. */
export const LINGER_SECONDS = 2

export interface AnswerContext {
  readonly observers: readonly ExchangeObserver[]
  /** The gateway is stopping: connections end with their answer. */
  readonly draining: () => boolean
  readonly lifetimes: Lifetimes
  /** This client should come back through another connection. */
  readonly shed: (openedAt: number) => boolean
  /** Seconds that the client may take nothing of what waits for it. */
  readonly sendTimeout: number
  /** The line that tells clients how long an idle connection is kept, or ''. */
  readonly keepAliveLines: string
}

/** What an answer has to know of its request's message. */
export interface AnswerTo {
  readonly minor: 0 | 1
  /** The client keeps the connection open behind the answer. */
  readonly persistent: boolean
  readonly body: IncomingBody | null
}

/** Seconds after which a streamed answer is one that lasts. */
export const LASTING_SECONDS = 1

/** `flushing`: all is written, not all has left. `lingering`: all has left, the rest of the request is dropped. */
type Phase = 'waiting' | 'streaming' | 'flushing' | 'lingering' | 'ended'

export class Answer implements EarlyAnswers, BodySink, Expiring {
  deadline = 0
  readonly exchange: Exchange
  readonly #connection: ClientConnection
  readonly #context: AnswerContext
  readonly #request: AnswerTo
  #phase: Phase = 'waiting'
  #source: BodySource | null = null
  #writer: BodyWriter | null = null
  #mustClose: boolean
  /** `performance.now()` at which a streamed answer lets go of what it does not need; 0: it has. */
  #lastsAt = 0
  /** `performance.now()` at which a client that takes nothing is given up; 0: it takes what comes. */
  #stuckAt = 0

  constructor(exchange: Exchange, connection: ClientConnection, request: AnswerTo, context: AnswerContext) {
    this.exchange = exchange
    this.#connection = connection
    this.#context = context
    this.#request = request
    this.#mustClose = !request.persistent
    exchange.early = this
    connection.current = this
  }

  /** The connection cannot go on behind this answer. */
  closeAfterwards(): void {
    this.#mustClose = true
    this.#connection.close()
  }

  informational(status: number, headers: FieldLines): void {
    if (this.#phase !== 'waiting' || this.#request.minor === 0) return
    if (status === 100) {
      if (!this.exchange.expectContinue) return
      this.#request.body?.invited()
    }
    this.#connection.socket.write(encodeInformational(status, headers), 'latin1')
  }

  /** The rest of the request is not valid or not coming. */
  breakRequest(error: GatewayError): void {
    if (this.#phase === 'lingering') return this.#closeNow()
    // Before the answer's head, whoever takes the body fails with this error, and that becomes the answer.
    this.#request.body?.break(error)
    if (this.#phase === 'streaming') this.#break(error)
  }

  /** All of the request has arrived. */
  requestEnded(): void {
    if (this.#phase === 'lingering' && !this.#mustClose) this.#leave()
  }

  send(reply: Reply): void {
    if (this.#phase !== 'waiting') return cancelBody(reply)
    try {
      this.#send(checked(reply))
    } catch (fault) {
      // A policy made a header that no message can carry
      cancelBody(reply)
      if (this.#phase !== 'waiting') return this.#break(new GatewayError('internal', { cause: fault }))
      this.#send(problemReply(this.exchange, fault))
    }
  }

  /** The client's side of the connection is gone. */
  clientGone(): void {
    if (this.#phase === 'ended') return
    this.#source?.cancel()
    if (this.exchange.outcome === null) this.exchange.error ??= new GatewayError('client_gone')
    this.#request.body?.cancel()
    this.exchange.abort()
    settle(this.exchange, 'client_gone', this.#context.observers)
    this.#leave()
  }

  /** The client has taken what waited for it. */
  drained(): void {
    if (this.#phase !== 'streaming') return
    this.#stuckAt = 0
    this.deadline = this.#lastsAt
    this.#source?.resume()
  }

  /** Deadline of `deadlines.ts`: the client takes nothing, or does not stop sending. */
  expire(): void {
    if (this.#phase === 'lingering') return this.#closeNow()
    if (this.#lastsAt > 0 && this.#lastsAt <= now()) {
      this.#lastsAt = 0
      this.deadline = this.#stuckAt
      if (this.#phase !== 'streaming') return this.exchange.tellLasting()
      this.exchange.lasts()
      return this.#connection.lasts()
    }
    this.#break(new GatewayError('client_gone', { cause: new Error('the client stopped reading') }))
  }

  // BodySink, for bodies that stream

  write(chunk: Buffer): boolean {
    this.exchange.bytesSent += chunk.length
    const flowing = this.#writer!.write(chunk)
    this.#stuckAt = flowing ? 0 : deadlineIn(this.#context.sendTimeout)
    this.deadline = sooner(this.#lastsAt, this.#stuckAt)
    return flowing
  }

  get settled(): boolean {
    return this.#connection.socket.writableLength === 0
  }

  end(trailers: FieldLines): void {
    this.#source = null
    this.#writer!.end(passableTrailers(trailers))
    this.#finish()
  }

  fail(error: Error): void {
    this.#break(error instanceof GatewayError ? error : new GatewayError('internal', { cause: error }))
  }

  #send(reply: Reply): void {
    const { body, status } = reply
    const { exchange } = this
    if (status === 101 && reply.tunnel !== undefined) return this.#upgrade(reply, reply.tunnel)
    // A client that was too slow would be given another go.
    const tooSlow = reply.error?.code === 'request_timeout'
    const unread = this.#unread
    if (this.#mustClose || tooSlow || this.#context.draining() || (unread && !this.#drainable)) {
      this.closeAfterwards()
    } else if (reply.contentLength >= 0 && this.#context.shed(this.#connection.openedAt))
      this.closeAfterwards()
    const isSource = body !== null && typeof body === 'object' && !Buffer.isBuffer(body)
    const bodiless = exchange.method === 'HEAD' || status === 204 || status === 304
    const streams = isSource && !bodiless
    const framing = this.#framingOf(reply, streams)
    if (framing === 'until-close') this.closeAfterwards()
    exchange.status = status
    const head = encodeResponseHead({
      status,
      fields: reply.headers,
      framing,
      ownLines: this.#ownLines(),
    })
    exchange.error = reply.error ?? null
    if (streams) return this.#stream(head, framing, body)
    if (isSource) body.cancel()
    if (isSource || bodiless || body === null) this.#connection.socket.write(head, 'latin1')
    else {
      exchange.bytesSent = reply.contentLength
      this.#writeWhole(head, body, reply.contentLength)
    }
    this.#finish()
  }

  #framingOf({ status, contentLength }: Reply, streams: boolean): ResponseFraming {
    if (status === 204) return 'none'
    if (contentLength >= 0) return contentLength
    if (!streams) return 'none'
    return this.#request.minor === 1 ? 'chunked' : 'until-close'
  }

  #ownLines(): string {
    const connection = this.#mustClose ? 'Connection: close\r\n' : this.#context.keepAliveLines
    // RFC 9110 §15.5.22: it must say what to upgrade to
    const upgrade = this.exchange.status === 426 ? 'Upgrade: websocket\r\nConnection: Upgrade\r\n' : ''
    return `${this.#traceLines()}${connection}${upgrade}`
  }

  #traceLines(): string {
    const { id, startedAt, limitFields } = this.exchange
    const seconds = (now() - startedAt) / 1000
    return `X-Request-ID: ${id}\r\nX-Process-Time: ${seconds.toFixed(6)}\r\n${ownLines(limitFields)}`
  }

  /** The connection becomes a WebSocket: nothing of this answer's, or of HTTP, is left on it. */
  #upgrade({ headers }: Reply, tunnel: UpstreamTunnel): void {
    const head = encodeUpgradeHead(headers, this.#traceLines())
    this.exchange.status = 101
    const { socket } = this.#connection
    // Answers to requests before this one may still be on their way.
    if (socket.writableLength === 0) this.#tunnel(head, tunnel)
    else socket.write('', () => this.#tunnel(head, tunnel))
  }

  #tunnel(head: string, upstream: UpstreamTunnel): void {
    if (this.#phase !== 'waiting') return
    this.#phase = 'ended'
    beginTunnel(this.#connection, head, this.exchange, upstream, this.#context)
  }

  #writeWhole(head: string, body: string | Buffer, length: number): void {
    const { socket } = this.#connection
    if (typeof body !== 'string') writeWhole(socket, head, body)
    // As many bytes as characters: ASCII, which Latin-1 writes as it is
    else if (length === body.length) socket.write(head + body, 'latin1')
    else writeWhole(socket, head, Buffer.from(body))
  }

  #stream(head: string, framing: ResponseFraming, body: BodySource): void {
    const { socket } = this.#connection
    this.#phase = 'streaming'
    this.#source = body
    this.#writer = new BodyWriter(socket, framing === 'chunked', head)
    this.#lastsAt = deadlineIn(LASTING_SECONDS)
    this.deadline = this.#lastsAt
    watchDeadline(this)
    // With what has come of the body already, in one packet
    body.pipe(this)
    this.#writer?.flush()
  }

  /** Some of the request's body has not arrived, and nobody is going to read it. */
  get #unread(): boolean {
    const { body } = this.#request
    return body !== null && !body.complete
  }

  /** What is unread is short enough to be read and dropped. */
  get #drainable(): boolean {
    const { framing, expectContinue } = this.exchange
    return typeof framing === 'number' && framing <= DRAINABLE_BYTES && !expectContinue
  }

  /** Everything is written. */
  #finish(): void {
    this.#phase = 'flushing'
    const unread = this.#unread
    const lingers = unread && (!this.#drainable || this.#mustClose)
    if (unread) this.#request.body!.drop()
    if (lingers) this.closeAfterwards()
    const { socket } = this.#connection
    if (socket.writableLength === 0) return this.#flushed(lingers)
    // A client that takes nothing keeps neither the connection nor the memory of its answer for ever.
    this.#stuckAt = deadlineIn(this.#context.sendTimeout)
    this.#lastsAt ||= deadlineIn(LASTING_SECONDS)
    this.deadline = sooner(this.#lastsAt, this.#stuckAt)
    watchDeadline(this)
    socket.write('', () => this.#flushed(lingers))
  }

  #flushed(lingers: boolean): void {
    if (this.#phase !== 'flushing' || this.#connection.socket.destroyed) return
    settle(this.exchange, 'answered', this.#context.observers)
    // Its head may have gone out before the gateway began to stop.
    if (this.#context.draining()) this.closeAfterwards()
    if (lingers || (this.#unread && !this.#mustClose)) return this.#linger(lingers)
    this.#leave()
    if (!this.#mustClose) return
    // Closed at once, bytes that nobody read would make it a reset, and take the answer along.
    this.#connection.end()
  }

  /**
   * Reads on for a while: until the rest of a short request is there, and the connection can go on; or, half-closed
   * (RFC 9112 §9.6), because closing with unread bytes in the socket would reset the connection and, often, destroy the
   * answer on its way.
   */
  #linger(closes: boolean): void {
    this.#phase = 'lingering'
    this.deadline = deadlineIn(LINGER_SECONDS)
    watchDeadline(this)
    if (closes) this.#connection.endAndDrop(() => this.#phase === 'lingering' && this.#closeNow())
  }

  #closeNow(): void {
    this.#connection.close()
    this.#leave()
    this.#connection.socket.destroySoon()
  }

  /** Ends the connection in a way that nobody can take for the end of the body. */
  #break(error: GatewayError): void {
    if (this.#phase === 'ended') return
    this.#source?.cancel()
    this.#writer?.discard()
    if (this.exchange.outcome === null) this.exchange.error = error
    this.#connection.close()
    const outcome = error.code === 'client_gone' ? 'client_gone' : 'broken'
    settle(this.exchange, outcome, this.#context.observers)
    this.#leave()
    reset(this.#connection.socket)
  }

  /** Nothing of this exchange is left on the connection. */
  #leave(): void {
    this.#phase = 'ended'
    if (this.deadline !== 0) this.deadline = 0
    unwatchDeadline(this)
    this.#connection.ended()
  }
}

/** Fields that the gateway itself made, encoded. */
function ownLines(fields: readonly string[]): string {
  let lines = ''
  for (let i = 0; i < fields.length; i += 2) lines += `${fields[i]}: ${fields[i + 1]}\r\n`
  return lines
}

/**
 * What a policy made is held against what it says: a length that is not that of its body would make the rest of it the
 * next answer.
 */
export function checked(reply: Reply): Reply {
  if (typeof reply !== 'object' || reply === null) throw new TypeError('a policy returned no reply')
  const { body } = reply
  if (typeof body !== 'string' && !Buffer.isBuffer(body)) return reply
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  return length === reply.contentLength ? reply : { ...reply, contentLength: length }
}

export function cancelBody(reply: Reply | undefined): void {
  const body = reply?.body ?? null
  if (body !== null && typeof body === 'object' && !Buffer.isBuffer(body)) body.cancel()
}
