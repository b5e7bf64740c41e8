/**
 * The end of every pipeline that has an upstream: the exchange goes out, the answer comes back. The only place that
 * may call an upstream twice.
 */

import { asGatewayError, GatewayError } from '../errors.ts'
import type { Abortable, Exchange, Handler, Reply } from '../exchange.ts'
import { connectionOptions, type FieldLines, fieldName, HOP_BY_HOP } from '../wire/fields.ts'
import { encodeRequestHead, fieldLine, type PassageRules } from '../wire/request-head.ts'
import type { ResponseHead } from '../wire/response-parser.ts'
import { AnswerBody } from './answer-body.ts'
import type { AttemptListener, Connection } from './connection.ts'
import type { Timeouts } from './endpoint.ts'
import type { Pool, PoolClient } from './pool.ts'
import { Upload } from './upload.ts'

export interface SendOptions {
  readonly pool: Pool
  readonly timeouts: Timeouts
  /** What of the client's fields stays behind. */
  readonly rules: PassageRules
  /** Lower-case fields of answers that the gateway writes itself on this route. */
  readonly replaced: ReadonlySet<string>
  /** The path for the upstream; null: the raw path as it came. */
  readonly rewrite: ((rawPath: string) => string) | null
  /** `X-Forwarded-Prefix` for the upstream, where a prefix was stripped. */
  readonly strippedPrefix: string | null
}

/** RFC 9110 §9.2.2: what may be sent again after an answer stayed away. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

export function createSender(options: SendOptions): Handler {
  const viaLine = 'Via: 1.1 nyro-gateway\r\n'
  const prefixLine = options.strippedPrefix ? fieldLine('X-Forwarded-Prefix', options.strippedPrefix) : ''
  const constantLines = viaLine + prefixLine

  return function send(exchange) {
    exchange.upstream = options.pool.endpoint.name
    return new Promise<Reply>((resolve, reject) => {
      new Attempt(exchange, options, constantLines, resolve, reject).begin(false)
    })
  }
}

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
    if (body === null) return connection.send(method, this.#requestHead, null, this, 'none')
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

  #encodeHead(): string {
    const { endpoint } = this.#options.pool
    const exchange = this.#exchange
    const path = this.#options.rewrite === null ? exchange.rawPath : this.#options.rewrite(exchange.rawPath)
    return encodeRequestHead({
      method: exchange.method,
      target: endpoint.basePath + path + exchange.query,
      authority: (endpoint.preserveHost && exchange.authority) || endpoint.authority,
      headers: exchange.headers,
      rules: this.#options.rules,
      replaced: exchange.upstreamHeaders.names,
      ownLines:
        exchange.client.forwardedLines +
        this.#constantLines +
        `X-Request-ID: ${exchange.id}\r\n` +
        exchange.upstreamHeaders.lines,
      framing: exchange.framing,
      expectContinue: exchange.expectContinue,
    })
  }

  onInformational(status: number, fields: readonly string[]): void {
    const passed = status === 100 ? [] : passable(fields, this.#options.replaced)
    this.#exchange.early?.informational(status, passed)
  }

  onHead(head: ResponseHead): void {
    this.#head = head
    if (head.hasBody) this.#body = new AnswerBody(this.#connection!, this)
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.#body!.push(bytes, start, end)
  }

  onEnd(trailers: FieldLines): void {
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
    if (this.#head === null || this.#settled) return
    this.#settled = true
    const { status, contentLength, derived } = this.#head
    const { replaced } = this.#options
    const passed = derived.get(replaced, head => passable(head.fields, replaced))
    const whole = this.#body === null ? null : this.#body.takeWhole()
    if (whole === null) this.#body?.settle()
    this.#resolve({
      status,
      // A copy: policies change it
      headers: passed.slice(),
      body: whole ?? this.#body,
      contentLength: status === 204 ? -1 : whole === null ? contentLength : whole.length,
    })
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

/** The fields of an answer that go on to the client: end-to-end ones that the gateway does not write itself. */
function passable(fields: readonly string[], replaced: ReadonlySet<string>): FieldLines {
  const nominated = nominatedBy(fields)
  const passed: FieldLines = []
  for (let i = 0; i < fields.length; i += 2) {
    const { lower } = fieldName(fields[i]!)
    if (HOP_BY_HOP.has(lower) || replaced.has(lower) || nominated?.has(lower)) continue
    passed.push(fields[i]!, fields[i + 1]!)
  }
  return passed
}

/** Lower-case names that an answer's Connection fields keep to this hop, or null. */
function nominatedBy(fields: readonly string[]): ReadonlySet<string> | null {
  const values: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    if (fieldName(fields[i]!).lower === 'connection') values.push(fields[i + 1]!)
  }
  return values.length === 0 ? null : connectionOptions(values)
}
