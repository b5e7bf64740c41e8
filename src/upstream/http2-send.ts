/** The end of pipelines whose upstream speaks HTTP/2: what send.ts is for HTTP/1.1, gRPC and its deadlines included. */

import { asGatewayError, GatewayError } from '../errors.ts'
import type { Abortable, Exchange, Handler, Reply } from '../exchange.ts'
import { callTimeLeft, callTimer, speaksGrpc } from '../grpc.ts'
import { now } from '../wire/clock.ts'
import { type FieldLines, findField, setField } from '../wire/fields.ts'
import { formatTimeout } from '../wire/grpc.ts'
import { http2RequestHead } from '../wire/http2-request-head.ts'
import { fieldsFor, passable } from './answer-fields.ts'
import type { Timeouts } from './endpoint.ts'
import { isKept, keptBody, streamKind } from './event-stream.ts'
import { Http2AnswerBody } from './http2-answer-body.ts'
import { type CallListener, Http2Call } from './http2-call.ts'
import type { Http2Pool, SessionClient } from './http2-pool.ts'
import type { Http2Session } from './http2-session.ts'
import { outgoing, prefixLine } from './outgoing.ts'
import { IDEMPOTENT, type SendOptions } from './send.ts'

export interface Http2SendOptions extends Omit<SendOptions, 'pool' | 'tunnel'> {
  readonly pool: Http2Pool
}

/** A body announced as no longer than this is mostly here in the same turn of the loop as its head. */
const GATHERED_BYTES = 65_536

export function createHttp2Sender(options: Http2SendOptions): Handler {
  const constantLines = `Via: 1.1 nyro-gateway\r\n${prefixLine(options)}`
  const constantLines2 = `Via: 2 nyro-gateway\r\n${prefixLine(options)}`

  return function send(exchange) {
    exchange.upstream = options.pool.endpoint.name
    exchange.upstreamBegins(now())
    return new Promise<Reply>((resolve, reject) => {
      const lines = exchange.protocol === 'HTTP/2' ? constantLines2 : constantLines
      new Http2Attempt(exchange, options, lines, resolve, reject).begin()
    })
  }
}

/** One exchange's stay with its upstream; its second try, too. */
class Http2Attempt implements CallListener, SessionClient, Abortable {
  readonly timeouts: Timeouts
  readonly #exchange: Exchange
  readonly #options: Http2SendOptions
  readonly #constantLines: string
  readonly #resolve: (reply: Reply) => void
  readonly #reject: (error: GatewayError) => void
  #call: Http2Call | null = null
  /** The session had served others before this call. */
  #reused = false
  /** The request's body, where it was here at once: it can be sent again. */
  #whole: Buffer | null = null
  #giveUpWaiting: (() => void) | null = null
  #deadline: NodeJS.Timeout | null = null
  #head: { readonly status: number; readonly fields: readonly string[] } | null = null
  #body: Http2AnswerBody | null = null
  /** The promise was settled: what comes now belongs to the body. */
  #settled = false

  constructor(
    exchange: Exchange,
    options: Http2SendOptions,
    constantLines: string,
    resolve: (reply: Reply) => void,
    reject: (error: GatewayError) => void,
  ) {
    this.#exchange = exchange
    this.#options = options
    this.#constantLines = constantLines
    this.timeouts = options.timeouts
    this.#resolve = resolve
    this.#reject = reject
  }

  begin(): void {
    const exchange = this.#exchange
    if (exchange.aborted) return this.#refuse(new GatewayError('client_gone'))
    exchange.onAbort(this)
    if (speaksGrpc(exchange)) {
      exchange.body?.untimed()
      this.#keepDeadline()
      if (this.#settled) return
    }
    this.#acquire()
  }

  #acquire(): void {
    this.#giveUpWaiting = this.#options.pool.acquire(this, this.timeouts)
  }

  onNoSession(error: GatewayError): void {
    this.#giveUpWaiting = null
    this.#refuse(error)
  }

  onSession(session: Http2Session): void {
    this.#giveUpWaiting = null
    const exchange = this.#exchange
    const { body, expectContinue } = exchange
    let fields: FieldLines
    try {
      fields = this.#fields()
    } catch (error) {
      return this.#refuse(asGatewayError(error))
    }
    exchange.attempts++
    if (!expectContinue) this.#whole ??= body?.takeWhole() ?? null
    this.#call = new Http2Call(
      session,
      fields,
      {
        whole: this.#whole,
        source: this.#whole === null ? body : null,
        onInvitation: expectContinue,
        mayHaveTrailers: exchange.framing === 'chunked' && !speaksGrpc(exchange),
        refusedTrailers: this.#options.rules.asserted,
        onBroken: error => this.#break(asGatewayError(error)),
      },
      this,
    )
    this.#reused = session.reused
    this.#call.start()
  }

  #fields(): FieldLines {
    const { endpoint } = this.#options.pool
    const facts = outgoing(this.#exchange, endpoint, this.#options, this.#constantLines)
    const fields = http2RequestHead({ ...facts, scheme: endpoint.tls === null ? 'http' : 'https' })
    // What is left of it
    if (this.#deadline !== null) {
      setField(fields, 'grpc-timeout', formatTimeout(callTimeLeft(this.#exchange)!))
    }
    return fields
  }

  #keepDeadline(): void {
    const left = callTimeLeft(this.#exchange)
    if (left === null) return
    const pass = (): void => {
      this.#stop()
      this.#break(new GatewayError('deadline_exceeded'))
    }
    if (left <= 0) pass()
    else this.#deadline = callTimer(this.#exchange, pass)
  }

  onInformational(status: number, fields: readonly string[]): void {
    const passed = status === 100 ? [] : passable(fields, this.#options.replaced).lines.slice()
    this.#exchange.early?.informational(status, passed)
  }

  onHead(status: number, fields: readonly string[], ended: boolean): void {
    if (!(status >= 200 && status <= 599)) {
      this.#call!.cancel()
      const cause = new Error(`:status ${status}`)
      return this.#refuse(new GatewayError('upstream_malformed', { cause }))
    }
    this.#head = { status, fields }
    const { method } = this.#exchange
    if (ended) return this.#answer()
    if (method === 'HEAD' || status === 204 || status === 304) {
      this.#call!.flow()
      return this.#answer()
    }
    this.#body = new Http2AnswerBody(this.#call!)
    const length = lengthOf(fields)
    if (length === -1 || length > GATHERED_BYTES) return this.#answer()
    this.#body.gather()
    setImmediate(() => this.#answer())
  }

  #answer(): void {
    if (this.#settled) return
    this.#settled = true
    const { status, fields } = this.#head!
    const { replaced, location, eventStreams } = this.#options
    const whole = this.#body?.takeWhole() ?? null
    const streamed =
      whole !== null || this.#body === null
        ? null
        : keptBody(streamKind(fields), this.#body, this.#exchange, eventStreams)
    this.#resolve({
      status,
      headers: fieldsFor(this.#exchange, status, passable(fields, replaced), location),
      body: whole ?? streamed,
      // Something may be put into an event stream, or it may end before its time
      contentLength: isKept(streamed) ? -1 : this.#lengthOf(whole),
    })
  }

  #lengthOf(whole: Buffer | null): number {
    const { status, fields } = this.#head!
    if (whole !== null) return whole.length
    if (status === 204) return -1
    const isBodiless = this.#exchange.method === 'HEAD' || status === 304
    return this.#body === null && !isBodiless ? 0 : lengthOf(fields)
  }

  onData(chunk: Buffer): void {
    this.#body?.push(chunk)
  }

  onEnd(trailers: FieldLines): void {
    if (this.#settled) this.#exchange.upstreamEndedAt = now()
    // From here on nothing that happens to this exchange is about its upstream any more.
    this.#exchange.onAbort(null)
    this.#clearDeadline()
    // Answered before the request was complete: its rest has no place to go.
    if (!this.#call!.sent) this.#call!.cancel()
    this.#body?.end(trailers)
    this.#answer()
  }

  onFailure(error: GatewayError, refused: boolean): void {
    if (!this.#settled && this.#mayTryAgain(error, refused)) this.#acquire()
    else this.#break(error)
  }

  /**
   * A request that the upstream says it has not looked at, whatever it is about; or one whose connection broke before
   * anything of an answer, as in send.ts. Only with no body given away.
   */
  #mayTryAgain(error: GatewayError, refused: boolean): boolean {
    const { body, attempts, method } = this.#exchange
    if (attempts > 1 || error.code !== 'upstream_reset' || this.#call!.heard) return false
    if (refused) return body === null || this.#whole !== null
    return this.#reused && body === null && IDEMPOTENT.has(method)
  }

  /** Fails whatever of the answer is still to come: all of it, or the rest of its body. */
  #break(error: GatewayError): void {
    this.#clearDeadline()
    if (this.#settled) this.#body?.fail(error)
    else this.#refuse(error)
  }

  /** Nobody wants an answer any more. */
  abort(): void {
    this.#clearDeadline()
    this.#stop()
    if (!this.#settled) this.#refuse(new GatewayError('client_gone'))
  }

  #stop(): void {
    this.#giveUpWaiting?.()
    this.#call?.cancel()
  }

  #clearDeadline(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
  }

  #refuse(error: GatewayError): void {
    if (this.#settled) return
    this.#settled = true
    this.#clearDeadline()
    this.#exchange.onAbort(null)
    this.#reject(error)
  }
}

/** Bytes announced, or -1. */
function lengthOf(fields: readonly string[]): number {
  const text = findField(fields, 'content-length')
  return text === undefined ? -1 : Number(text)
}
