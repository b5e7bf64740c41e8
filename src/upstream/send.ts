/**
 * The end of every pipeline that has an upstream: the exchange goes out, the answer comes back. The only place that
 * may call an upstream twice.
 */

import type { Socket } from 'node:net'
import { asGatewayError, GatewayError } from '../errors.ts'
import type { Abortable, Exchange, Handler, Reply, TunnelSettings } from '../exchange.ts'
import type { BodySource } from '../wire/body.ts'
import { now } from '../wire/clock.ts'
import type { FieldLines } from '../wire/fields.ts'
import { encodeRequestHead } from '../wire/request-head.ts'
import type { ResponseHead } from '../wire/response-parser.ts'
import { isAcceptance } from '../wire/websocket-handshake.ts'
import { AnswerBody } from './answer-body.ts'
import { fieldsFor, passable } from './answer-fields.ts'
import type { AttemptListener, Connection } from './connection.ts'
import type { Timeouts } from './endpoint.ts'
import { type EventStreamOptions, isKept, keptBody, streamKind } from './event-stream.ts'
import type { LocationMapper } from './location.ts'
import { type OutgoingOptions, outgoing, prefixLine } from './outgoing.ts'
import type { Pool, PoolClient } from './pool.ts'
import { Upload } from './upload.ts'

export interface SendOptions extends OutgoingOptions {
  readonly pool: Pool
  readonly timeouts: Timeouts
  /** Lower-case fields of answers that the gateway writes itself on this route. */
  readonly replaced: ReadonlySet<string>
  /** Makes the upstream's paths the client's, in `Location` and `Content-Location`. */
  readonly location: LocationMapper
  /** How WebSockets of this route are kept; null: there are none. */
  readonly tunnel: TunnelSettings | null
  readonly eventStreams: EventStreamOptions
}

/** RFC 9110 §9.2.2: what may be sent again after an answer stayed away. */
export const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

export function createSender(options: SendOptions): Handler {
  const constantLines = `Via: 1.1 nyro-gateway\r\n${prefixLine(options)}`

  return function send(exchange) {
    exchange.upstream = options.pool.endpoint.name
    exchange.upstreamBegins(now())
    return new Promise<Reply>((resolve, reject) => {
      new Attempt(exchange, options, constantLines, resolve, reject).begin(false)
    })
  }
}

const kindOf = (head: ResponseHead) => streamKind(head.fields)

/** One exchange's stay with its upstream; its second try, too. */
class Attempt implements AttemptListener, PoolClient, Abortable {
  readonly timeouts: Timeouts
  readonly #exchange: Exchange
  readonly #options: SendOptions
  readonly #constantLines: string
  readonly #resolve: (reply: Reply) => void
  readonly #reject: (error: GatewayError) => void
  #requestHead = ''
  #connection: Connection | null = null
  #upload: Upload | null = null
  #giveUpWaiting: (() => void) | null = null
  /** Set with the answer's head. */
  #head: ResponseHead | null = null
  #body: AnswerBody | null = null
  /** The promise was settled: what comes now belongs to the body. */
  #settled = false

  constructor(
    exchange: Exchange,
    options: SendOptions,
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

  begin(fresh: boolean): void {
    if (this.#exchange.aborted) return this.#refuse(new GatewayError('client_gone'))
    try {
      this.#requestHead = this.#encodeHead()
    } catch (error) {
      return this.#refuse(asGatewayError(error))
    }
    this.#exchange.onAbort(this)
    if (this.#upgrades) return this.onConnection(this.#options.pool.openLasting())
    this.#giveUpWaiting = this.#options.pool.acquire(this, this.timeouts.firstByte, fresh)
  }

  onNoConnection(error: GatewayError): void {
    this.#giveUpWaiting = null
    this.#refuse(error)
  }

  onConnection(connection: Connection): void {
    this.#giveUpWaiting = null
    const { body, method, framing, expectContinue } = this.#exchange
    this.#connection = connection
    this.#exchange.attempts++
    if (body === null) return connection.send(method, this.#requestHead, null, this, 'none', this.#upgrades)
    const whole = typeof framing === 'number' && !expectContinue ? body.takeWhole() : null
    if (whole !== null) return connection.send(method, this.#requestHead, whole, this, 'none')
    connection.send(method, this.#requestHead, null, this, expectContinue ? 'on-invitation' : 'follows')
    this.#upload = new Upload(connection, body, {
      chunked: framing === 'chunked',
      refusedTrailers: this.#options.rules.asserted,
      abandon: () => connection.abandon(this),
      onBroken: error => this.#break(asGatewayError(error)),
    })
    this.#upload.start()
  }

  get #upgrades(): boolean {
    return this.#exchange.upgrade && this.#options.tunnel !== null
  }

  #encodeHead(): string {
    const { endpoint } = this.#options.pool
    const facts = outgoing(this.#exchange, endpoint, this.#options, this.#constantLines)
    return encodeRequestHead(facts, this.#upgrades)
  }

  onInformational(status: number, fields: readonly string[]): void {
    const passed = status === 100 ? [] : passable(fields, this.#options.replaced).lines.slice()
    this.#exchange.early?.informational(status, passed)
  }

  onHead(head: ResponseHead): void {
    this.#head = head
    if (head.hasBody) this.#body = new AnswerBody(this.#connection!, this)
  }

  onUpgraded(head: ResponseHead, socket: Socket, rest: Buffer | null): void {
    const { headers } = this.#exchange
    const release = { abort: () => void socket.destroy() }
    if (!isAcceptance(head.fields, headers.get('sec-websocket-key') ?? '')) {
      release.abort()
      const cause = new Error('101 without the acceptance of this handshake')
      return this.#refuse(new GatewayError('upstream_malformed', { cause }))
    }
    this.#settled = true
    // Until somebody takes it
    this.#exchange.onAbort(release)
    this.#resolve({
      status: 101,
      headers: passable(head.fields, this.#options.replaced).lines.slice(),
      body: null,
      contentLength: -1,
      tunnel: { socket, rest, settings: this.#options.tunnel! },
    })
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.#body!.push(bytes, start, end)
  }

  onEnd(trailers: FieldLines): void {
    if (this.#settled) this.#exchange.upstreamEndedAt = now()
    // From here on the connection may serve others: nothing that happens to this exchange is about it any more.
    this.#exchange.onAbort(null)
    if (this.#upload !== null && !this.#upload.whole) {
      // Answered before the request was complete: its rest has no place to go.
      this.#upload.stop()
      this.#connection!.abandon(this)
    }
    this.#body?.end(trailers)
  }

  afterRead(): void {
    const head = this.#head
    if (head === null || this.#settled) return
    this.#settled = true
    // Nothing of either is needed for what may be a long stream
    this.#head = null
    this.#requestHead = ''
    const { status, contentLength, derived } = head
    const { replaced, location } = this.#options
    const passed = derived.get(replaced, head => passable(head.fields, replaced))
    const whole = this.#body === null ? null : this.#body.takeWhole()
    const streamed = whole === null ? this.#streamed(head) : null
    if (whole === null) this.#body?.settle()
    this.#resolve({
      status,
      headers: fieldsFor(this.#exchange, status, passed, location),
      body: whole ?? streamed,
      contentLength: status === 204 || isKept(streamed) ? -1 : whole === null ? contentLength : whole.length,
    })
  }

  /** What there is to come of the body. */
  #streamed(head: ResponseHead): BodySource | null {
    if (this.#body === null) return null
    const kind = head.derived.get(kindOf, kindOf)
    return keptBody(kind, this.#body, this.#exchange, this.#options.eventStreams)
  }

  onDrain(): void {
    this.#upload?.drained()
  }

  onRefused(): void {
    this.#upload?.stop()
  }

  onFailure(error: GatewayError): void {
    this.#upload?.stop()
    if (!this.#settled && this.#mayTryAgain(error)) this.begin(true)
    else this.#break(error)
  }

  /** Fails whatever of the answer is still to come: all of it, or the rest of its body. */
  #break(error: GatewayError): void {
    if (this.#settled) this.#body?.fail(error)
    else this.#refuse(error)
  }

  /**
   * An idle connection that the upstream closed just as the request went out: nobody saw the request. Only where the
   * method allows it (RFC 9110 §9.2.2), with nothing of an answer heard and no body given away.
   */
  #mayTryAgain(error: GatewayError): boolean {
    const connection = this.#connection
    return (
      error.code === 'upstream_reset' &&
      connection !== null &&
      connection.reused &&
      !connection.heard &&
      this.#exchange.body === null &&
      this.#exchange.attempts === 1 &&
      IDEMPOTENT.has(this.#exchange.method)
    )
  }

  /** Nobody wants an answer any more. */
  abort(): void {
    this.#giveUpWaiting?.()
    this.#upload?.stop()
    this.#connection?.abandon(this)
    if (!this.#settled) this.#refuse(new GatewayError('client_gone'))
  }

  #refuse(error: GatewayError): void {
    if (this.#settled) return
    this.#settled = true
    this.#exchange.onAbort(null)
    this.#reject(error)
  }
}
