/**
 * The answer to one HTTP/2 stream, as edge/answer.ts is the answer on a connection of HTTP/1.1: its head once, its body
 * with backpressure, its trailers, and its end settled exactly once.
 */

import { constants, type ServerHttp2Stream } from 'node:http2'
import { GatewayError } from '../errors.ts'
import type { EarlyAnswers, Exchange, Reply } from '../exchange.ts'
import { grpcTrailers, speaksGrpc } from '../grpc.ts'
import { problemReply } from '../problem.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, sooner, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { type FieldLines, passableTrailers } from '../wire/fields.ts'
import { encodeHttp2Answer, http2FieldObject } from '../wire/http2-fields.ts'
import {
  type AnswerContext,
  cancelBody,
  checked,
  DRAINABLE_BYTES,
  LASTING_SECONDS,
  LINGER_SECONDS,
} from './answer.ts'
import type { Http2Connection } from './http2-connection.ts'
import type { IncomingBody } from './request-body.ts'
import { settle } from './settle.ts'

const { NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL } = constants

/** `flushing`: all is given away, not all has left. `lingering`: all has left, the rest of the request is dropped. */
type Phase = 'waiting' | 'streaming' | 'flushing' | 'lingering' | 'ended'

/** Seconds in which a stream that was closed has to be gone. */
const CLOSING_SECONDS = 2

const NO_BODY = { endStream: true } as const
const WITH_TRAILERS = { waitForTrailers: true } as const
const NONE: FieldLines = []

export class Http2Answer implements EarlyAnswers, BodySink, Expiring {
  deadline = 0
  readonly exchange: Exchange
  readonly #stream: ServerHttp2Stream
  readonly #connection: Http2Connection
  readonly #context: AnswerContext
  readonly #body: IncomingBody | null
  #phase: Phase = 'waiting'
  #source: BodySource | null = null
  #trailers = NONE
  /** Bytes that waited when some were written last. */
  #unsent = 0
  /** As in edge/answer.ts. */
  #lastsAt = 0
  #stuckAt = 0

  constructor(
    exchange: Exchange,
    stream: ServerHttp2Stream,
    connection: Http2Connection,
    body: IncomingBody | null,
    context: AnswerContext,
  ) {
    this.exchange = exchange
    this.#stream = stream
    this.#connection = connection
    this.#body = body
    this.#context = context
    exchange.early = this
  }

  informational(status: number, headers: FieldLines): void {
    if (this.#phase !== 'waiting' || this.#stream.closed) return
    if (status === 100) {
      if (!this.exchange.expectContinue) return
      this.#body?.invited()
    }
    this.#stream.additionalHeaders({ ...http2FieldObject(headers), ':status': status })
  }

  send(reply: Reply): void {
    if (this.#phase !== 'waiting') return cancelBody(reply)
    if (this.#stream.closed) {
      cancelBody(reply)
      return this.#awaitClose()
    }
    try {
      this.#send(checked(reply))
    } catch (fault) {
      // A policy made a header that no message can carry
      cancelBody(reply)
      if (this.#phase !== 'waiting') return this.#break(new GatewayError('internal', { cause: fault }))
      this.#send(problemReply(this.exchange, fault))
    }
  }

  /** The stream is closed, by either side. */
  closed(): void {
    unwatchDeadline(this)
    if (!this.#stream.writableFinished) this.#connection.leftUnsent(this.#unsent)
    if (this.#phase === 'ended') return
    const whole = this.#phase === 'flushing' && this.#stream.rstCode === NGHTTP2_NO_ERROR
    this.#body?.cancel()
    if (whole || this.#phase === 'lingering') return this.#end('answered')
    this.#source?.cancel()
    this.exchange.error ??= new GatewayError('client_gone')
    this.exchange.abort()
    this.#end('client_gone')
    this.#connection.takenBack()
  }

  /** The client took its request back. The close follows, but not while anything unread stands in the way. */
  takenBack(): void {
    this.#body?.drop()
  }

  /** The client has taken what waited for it. */
  drained(): void {
    if (this.#phase !== 'streaming') return
    this.#stuckAt = 0
    this.deadline = this.#lastsAt
    this.#unsent = 0
    this.#source?.resume()
  }

  /** All of the body has left: what ends the message is asked for. */
  wantTrailers(): void {
    if (this.#stream.closed) return
    this.#stream.sendTrailers(http2FieldObject(this.#trailers))
    // They leave with the next turn of the loop, and what follows must not overtake them.
    if (this.#unread) setImmediate(() => this.finished())
  }

  /** Deadline of `deadlines.ts`: the client takes nothing, or does not stop sending. */
  expire(): void {
    if (this.#phase === 'lingering') return this.#close(NGHTTP2_NO_ERROR)
    if (this.#phase === 'ended' || this.#phase === 'waiting') return this.#connection.destroy()
    if (this.#lastsAt > 0 && this.#lastsAt <= now()) {
      this.#lastsAt = 0
      this.deadline = this.#stuckAt
      return this.exchange.tellLasting()
    }
    this.#break(new GatewayError('client_gone', { cause: new Error('the client stopped reading') }))
  }

  /**
   * The whole answer has left, and some of the request is still to come: the stream is reset without an error
   * (RFC 9113 §8.1).
   */
  finished(): void {
    if (this.#phase !== 'flushing') return
    settle(this.exchange, 'answered', this.#context.observers)
    this.#phase = 'lingering'
    // Also what has arrived: a stream with anything unread in it never closes.
    this.#body!.drop()
    if (this.#drainable) this.deadline = deadlineIn(LINGER_SECONDS)
    else this.#close(NGHTTP2_NO_ERROR)
  }

  // BodySink, for bodies that stream

  write(chunk: Buffer): boolean {
    this.exchange.bytesSent += chunk.length
    const flowing = this.#stream.write(chunk)
    this.#unsent = this.#stream.writableLength
    this.#stuckAt = flowing ? 0 : deadlineIn(this.#context.sendTimeout)
    this.deadline = sooner(this.#lastsAt, this.#stuckAt)
    return flowing
  }

  end(trailers: FieldLines): void {
    this.#source = null
    this.#trailers = passableTrailers(trailers)
    this.#flush()
    this.#stream.end()
  }

  fail(error: Error): void {
    const failure = error instanceof GatewayError ? error : new GatewayError('internal', { cause: error })
    if (this.#phase !== 'streaming' || !speaksGrpc(this.exchange)) return this.#break(failure)
    // Trailers can still say how the call ended.
    this.exchange.error = failure
    settle(this.exchange, 'broken', this.#context.observers)
    this.#source = null
    this.#trailers = grpcTrailers(failure)
    this.#flush()
    this.#stream.end()
  }

  #send(reply: Reply): void {
    const { body, status } = reply
    const { exchange } = this
    const stream = this.#stream
    const isSource = body !== null && typeof body === 'object' && !Buffer.isBuffer(body)
    const bodiless = exchange.method === 'HEAD' || status === 204 || status === 205 || status === 304
    const fields = encodeHttp2Answer({
      status,
      fields: reply.headers,
      contentLength: status === 204 ? -1 : status === 205 ? 0 : reply.contentLength,
      own: this.#ownFields(),
    })
    const connection = this.#connection
    if (!connection.retiring && (this.#context.draining() || this.#context.shed(connection.openedAt)))
      connection.retire()
    exchange.status = status
    exchange.error = reply.error ?? null
    watchDeadline(this)
    if (isSource && !bodiless) {
      this.#phase = 'streaming'
      this.#source = body
      this.#lastsAt = deadlineIn(LASTING_SECONDS)
      this.deadline = this.#lastsAt
      stream.respond(fields, WITH_TRAILERS)
      return body.pipe(this)
    }
    if (isSource) body.cancel()
    this.#flush()
    if (isSource || bodiless || body === null || body.length === 0) {
      stream.respond(fields, NO_BODY)
      // The head leaves with this turn of the loop, and what follows must not overtake it.
      if (this.#unread) setImmediate(() => this.finished())
      return
    }
    if (this.#unread) connection.tellWhenFinished(stream)
    exchange.bytesSent = reply.contentLength
    this.#unsent = reply.contentLength
    stream.respond(fields)
    stream.end(body)
  }

  #ownFields(): FieldLines {
    const { exchange } = this
    const seconds = (now() - exchange.startedAt) / 1000
    return ['x-request-id', exchange.id, 'x-process-time', seconds.toFixed(6), ...exchange.limitFields]
  }

  /** Everything is about to be given away. */
  #flush(): void {
    this.#phase = 'flushing'
    // A client that takes nothing keeps neither the stream nor the memory of its answer for ever.
    const time = now()
    this.#stuckAt = time + this.#context.sendTimeout * 1000
    this.#lastsAt ||= time + LASTING_SECONDS * 1000
    this.deadline = sooner(this.#lastsAt, this.#stuckAt)
  }

  /** Some of the request's body has not arrived, and nobody is going to read it. */
  get #unread(): boolean {
    return this.#body !== null && !this.#body.complete
  }

  /** What is unread is short enough to be read and dropped, which clients take better than a reset. */
  get #drainable(): boolean {
    const { framing, expectContinue } = this.exchange
    return typeof framing === 'number' && framing <= DRAINABLE_BYTES && !expectContinue
  }

  /** Ends the stream in a way that nobody can take for the end of the body. */
  #break(error: GatewayError): void {
    if (this.#phase === 'ended') return
    const isClients = error.code === 'client_gone'
    this.#source?.cancel()
    this.#body?.cancel()
    if (this.exchange.outcome === null) this.exchange.error = error
    this.#end(isClients ? 'client_gone' : 'broken')
    this.#close(isClients ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR)
  }

  #close(code: number): void {
    this.#phase = 'ended'
    this.#awaitClose()
    this.#stream.close(code)
  }

  /** A connection in disorder may never close its streams: it is ended then, and they with it. */
  #awaitClose(): void {
    this.deadline = deadlineIn(CLOSING_SECONDS)
    watchDeadline(this)
  }

  #end(outcome: 'answered' | 'broken' | 'client_gone'): void {
    this.#phase = 'ended'
    settle(this.exchange, outcome, this.#context.observers)
  }
}
