/**
 * The only place that writes to clients. One answer for each exchange: its head once, its body with backpressure, and
 * its end settled exactly once, whether it went well or not.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../errors.ts'
import type { EarlyAnswers, Exchange, ExchangeObserver, Outcome, Reply } from '../exchange.ts'
import { problemReply } from '../problem.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { type FieldLines, passableTrailers, removeField } from '../wire/fields.ts'
import type { ClientConnection } from './client-connection.ts'
import { dropUntilEnd, leaveOpenBehind, reset } from './closing.ts'

/** Behind the rest of a request body up to this size the connection can go on. */
const DRAINABLE_BYTES = 65_536
/** Seconds that the rest of a request gets, after its answer, to be read and dropped. */
const LINGER_SECONDS = 2

export interface AnswerContext {
  readonly connection: ClientConnection
  readonly observers: readonly ExchangeObserver[]
  /** The gateway is stopping: connections end with their answer. */
  readonly draining: () => boolean
  /** Seconds that the client may take nothing of what waits for it. */
  readonly sendTimeout: number
}

/** `flushing`: all is written, not all has left. `lingering`: all has left, the rest of the request is dropped. */
type Phase = 'waiting' | 'streaming' | 'flushing' | 'lingering' | 'ended'

export class Answer implements EarlyAnswers, BodySink, Expiring {
  deadline = 0
  readonly exchange: Exchange
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #context: AnswerContext
  #phase: Phase = 'waiting'
  #source: BodySource | null = null
  #mustClose = false

  constructor(
    exchange: Exchange,
    request: IncomingMessage,
    response: ServerResponse,
    context: AnswerContext,
  ) {
    this.exchange = exchange
    this.#request = request
    this.#response = response
    this.#context = context
    exchange.early = this
    context.connection.current = this
  }

  /** The request has arrived whole: whatever is wrong on the connection now is not about it. */
  get requestComplete(): boolean {
    return this.#request.complete
  }

  /** The connection cannot go on behind this answer. */
  closeAfterwards(): void {
    this.#mustClose = true
    this.#context.connection.close()
  }

  informational(status: number, headers: FieldLines): void {
    if (this.#phase !== 'waiting' || this.#request.httpVersionMinor === 0) return
    if (status !== 100) this.#response.writeInformation(status, headers)
    else if (this.exchange.expectContinue) {
      this.#response.writeContinue()
      this.exchange.body?.invited()
    }
  }

  /** The rest of the request is not valid or not coming. */
  breakRequest(error: GatewayError): void {
    if (this.#phase === 'lingering') return this.#closeNow()
    // Before the answer's head, whoever takes the body fails with this error, and that becomes the answer.
    this.exchange.body?.break(error)
    if (this.#phase === 'streaming') this.#break(error)
  }

  send(reply: Reply): void {
    if (this.#phase !== 'waiting') return cancelBody(reply)
    try {
      this.#sendHead(reply)
    } catch (fault) {
      // A policy made a header that no message can carry
      cancelBody(reply)
      if (this.#response.headersSent) return this.#break(new GatewayError('internal', { cause: fault }))
      this.#sendHead(problemReply(this.exchange, fault))
    }
  }

  /** The client's side of the connection is gone. */
  clientGone(): void {
    if (this.#phase === 'ended') return
    this.#source?.cancel()
    if (this.exchange.outcome === null) this.exchange.error ??= new GatewayError('client_gone')
    this.exchange.abort()
    this.#settle('client_gone')
    this.#leave()
  }

  /** Deadline of `deadlines.ts`: the client takes nothing, or does not stop sending. */
  expire(): void {
    if (this.#phase === 'lingering') return this.#closeNow()
    this.#break(new GatewayError('client_gone', { cause: new Error('the client stopped reading') }))
  }

  // BodySink, for bodies that stream

  write(chunk: Buffer): boolean {
    this.exchange.bytesSent += chunk.length
    const flowing = this.#response.write(chunk)
    this.deadline = flowing ? 0 : deadlineIn(this.#context.sendTimeout)
    return flowing
  }

  end(trailers: FieldLines): void {
    const passed = passableTrailers(trailers)
    if (passed.length > 0 && this.#response.chunkedEncoding) this.#response.addTrailers(pairs(passed))
    this.#end(null)
  }

  fail(error: Error): void {
    this.#break(error instanceof GatewayError ? error : new GatewayError('internal', { cause: error }))
  }

  #sendHead(reply: Reply): void {
    const { status, headers, body } = reply
    // A client that was too slow would be given another go.
    const tooSlow = reply.error?.code === 'request_timeout'
    if (this.#mustClose || tooSlow || this.#context.draining() || (this.#unread && !this.#drainable)) {
      this.closeAfterwards()
      headers.push('Connection', 'close')
    }
    const untilClose = this.#request.httpVersionMinor === 0 && reply.contentLength < 0
    if (untilClose && body !== null && typeof body === 'object') this.closeAfterwards()
    const isSource = body !== null && typeof body === 'object' && !Buffer.isBuffer(body)
    const streams = isSource && this.exchange.method !== 'HEAD'
    if (reply.contentLength >= 0 && status !== 204)
      headers.push('Content-Length', String(reply.contentLength))
    if (!streams || reply.contentLength >= 0 || this.#request.httpVersionMinor === 0)
      removeField(headers, 'trailer')
    const seconds = (performance.now() - this.exchange.startedAt) / 1000
    headers.push('X-Request-ID', this.exchange.id, 'X-Process-Time', seconds.toFixed(6))
    this.#response.writeHead(status, headers)
    this.exchange.status = status
    this.exchange.error = reply.error ?? null
    if (streams) return this.#stream(body)
    if (isSource) body.cancel()
    const sent = isSource || this.exchange.method === 'HEAD' ? null : body
    this.exchange.bytesSent = sent === null ? 0 : reply.contentLength
    this.#end(sent)
  }

  #stream(body: BodySource): void {
    this.#phase = 'streaming'
    this.#source = body
    watchDeadline(this)
    this.#response.on('drain', () => {
      if (this.#phase !== 'streaming') return
      this.deadline = 0
      this.#source?.resume()
    })
    body.pipe(this)
    // Headers wait for the first chunk to share its packet; without one they must not wait.
    if (this.#phase === 'streaming' && this.exchange.bytesSent === 0) this.#response.flushHeaders()
  }

  /** Some of the request's body has not been read, and nobody is going to. */
  get #unread(): boolean {
    return !this.#request.complete && this.exchange.body !== null
  }

  /** What is unread is short enough to be read and dropped. */
  get #drainable(): boolean {
    const { framing, expectContinue } = this.exchange
    return typeof framing === 'number' && framing <= DRAINABLE_BYTES && !expectContinue
  }

  /** Writes the last of the answer. */
  #end(body: string | Buffer | null): void {
    this.#source = null
    this.#phase = 'flushing'
    const lingers = this.#unread && (!this.#drainable || this.#mustClose)
    if (this.#unread) this.#dropRest()
    if (lingers) {
      this.closeAfterwards()
      leaveOpenBehind(this.#response)
    }
    endWith(this.#response, body)
    const { socket } = this.#response
    if (socket !== null && socket.writableLength === 0) return this.#flushed(lingers)
    // A client that takes nothing keeps neither the connection nor the memory of its answer for ever.
    this.deadline = deadlineIn(this.#context.sendTimeout)
    watchDeadline(this)
    this.#response.once('finish', () => this.#flushed(lingers))
  }

  #flushed(lingers: boolean): void {
    if (this.#phase !== 'flushing') return
    this.#settle('answered')
    // Its head may have gone out before the gateway began to stop.
    if (this.#context.draining()) this.closeAfterwards()
    if (lingers || (this.#unread && !this.#mustClose)) return this.#linger(lingers)
    this.#leave()
    // `node:http` closes by itself only if the head could still say so
    if (this.#mustClose) this.#request.socket.end()
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
    if (closes) dropUntilEnd(this.#request.socket, () => this.#phase === 'lingering' && this.#closeNow())
    else this.#request.once('end', () => this.#phase === 'lingering' && this.#leave())
  }

  #closeNow(): void {
    this.#context.connection.close()
    this.#leave()
    this.#request.socket.destroySoon()
  }

  /** Nobody takes what is left of the request; unread, it would hold up whatever follows on the connection. */
  #dropRest(): void {
    this.#request.removeAllListeners('data')
    this.#request.resume()
  }

  /** Ends the connection in a way that nobody can take for the end of the body. */
  #break(error: GatewayError): void {
    if (this.#phase === 'ended') return
    this.#source?.cancel()
    if (this.exchange.outcome === null) this.exchange.error = error
    this.#context.connection.close()
    this.#settle(error.code === 'client_gone' ? 'client_gone' : 'broken')
    this.#leave()
    reset(this.#request.socket)
  }

  /** The outcome is known: whoever still works for the exchange is released, everyone who counts is told, once. */
  #settle(outcome: Outcome): void {
    if (this.exchange.outcome !== null) return
    this.exchange.outcome = outcome
    this.exchange.release()
    for (const observe of this.#context.observers) observe(this.exchange)
  }

  /** Nothing of this exchange is left on the connection. */
  #leave(): void {
    this.#phase = 'ended'
    unwatchDeadline(this)
    this.#context.connection.ended()
  }
}

/** Up to this size a body is cheaper copied behind its head than sent beside it. */
const ONE_STRING_BYTES = 8_192

/**
 * Ends an answer. `node:http` joins head and text into one string and one plain write; a buffer makes it a vectored
 * write of two, which costs more than the copy (measured: see docs/architecture.md).
 */
function endWith(response: ServerResponse, body: string | Buffer | null): void {
  if (body === null) response.end()
  else if (typeof body === 'string' || body.length > ONE_STRING_BYTES) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')
}

function cancelBody(reply: Reply): void {
  const { body } = reply
  if (body !== null && typeof body === 'object' && !Buffer.isBuffer(body)) body.cancel()
}

function pairs(lines: FieldLines): [string, string][] {
  const result: [string, string][] = []
  for (let i = 0; i < lines.length; i += 2) result.push([lines[i]!, lines[i + 1]!])
  return result
}
