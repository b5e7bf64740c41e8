/**
 * One connection to an upstream: one request at a time, its answer parsed strictly. What happens is told to the
 * attempt that owns the connection at the moment; a connection that did anything unexpected is never used again.
 */

import net from 'node:net'
import tls from 'node:tls'
import { GatewayError } from '../errors.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { type FieldLines, findField } from '../wire/fields.ts'
import { MalformedResponse } from '../wire/malformed.ts'
import { type ResponseHead, type ResponseListener, ResponseParser } from '../wire/response-parser.ts'
import type { Endpoint, Timeouts } from './endpoint.ts'

/** What an attempt hears of its connection. Exactly one of `onEnd` and `onFailure` comes last. */
export interface AttemptListener extends ResponseListener {
  readonly timeouts: Timeouts
  /** The bytes that arrived together have been parsed. */
  afterRead(): void
  /** The socket takes bytes again. */
  onDrain(): void
  onFailure(error: GatewayError): void
}

/** Told when a connection may be given to the next request, and when it is no more. */
export interface ConnectionOwner {
  onReleased(connection: Connection): void
  onClosed(connection: Connection): void
}

/** Every read of this thread lands here and is parsed before the next one; what must last is copied out. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'busy'; readonly attempt: AttemptListener }
  | { readonly kind: 'closed' }

const IDLE: State = { kind: 'idle' }
const CLOSED: State = { kind: 'closed' }

export class Connection implements Expiring, ResponseListener {
  deadline = 0
  readonly #endpoint: Endpoint
  readonly #owner: ConnectionOwner
  readonly #parser = new ResponseParser(this)
  readonly #socket: net.Socket
  #state: State = IDLE
  #connected = false
  #keepAlive = true
  #requestSent = false
  #answered = false
  /** Any byte of the current answer has arrived. */
  #heard = false
  /** Between the head of an answer and its end. */
  #receiving = false
  #paused = false
  #served = 0
  #idleSeconds: number

  constructor(endpoint: Endpoint, owner: ConnectionOwner) {
    this.#endpoint = endpoint
    this.#owner = owner
    this.#idleSeconds = endpoint.idleTimeout
    this.#socket = endpoint.tls === null ? this.#connectPlain() : this.#connectTls(endpoint.tls)
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, 60_000)
    this.#socket.on('drain', () => this.#state.kind === 'busy' && this.#state.attempt.onDrain())
    this.#socket.on('error', error => this.#onError(error))
    this.#socket.on('end', () => this.#onEnd())
    this.#socket.on('close', () => this.#onClose())
    watchDeadline(this)
  }

  /** It has already served a request, so the upstream may be about to close it. */
  get reused(): boolean {
    return this.#served > 1
  }

  /** The connection was made: what is sent may arrive. */
  get connected(): boolean {
    return this.#connected
  }

  get heard(): boolean {
    return this.#heard
  }

  /** Sends a request head; the body, if any, follows through `write` and `finishRequest`. */
  send(method: string, head: string, attempt: AttemptListener, hasBody: boolean): void {
    this.#state = { kind: 'busy', attempt }
    this.#served++
    this.#requestSent = !hasBody
    this.#answered = false
    this.#heard = false
    this.#receiving = false
    this.#paused = false
    this.#parser.begin(method)
    this.#socket.write(head, 'latin1')
    const { connect, firstByte } = attempt.timeouts
    this.deadline = this.#connected ? (hasBody ? 0 : deadlineIn(firstByte)) : deadlineIn(connect)
  }

  /** @returns false when the socket is full: `onDrain` follows */
  write(bytes: Buffer | string): boolean {
    const flowing =
      typeof bytes === 'string' ? this.#socket.write(bytes, 'latin1') : this.#socket.write(bytes)
    // While the upstream does not take the body it has the idle time to change its mind; while the client
    // does not send it, the edge keeps the time.
    if (this.#connected && !this.#heard) this.deadline = flowing ? 0 : this.#deadlineFor('idle')
    return flowing
  }

  /** Writes several pieces as one. */
  writeTogether(...pieces: (Buffer | string)[]): boolean {
    this.#socket.cork()
    let flowing = true
    for (const piece of pieces) flowing = this.write(piece)
    this.#socket.uncork()
    return flowing
  }

  /** The request is complete: the time for the answer begins. */
  finishRequest(): void {
    this.#requestSent = true
    if (!this.#heard && this.#connected) this.deadline = this.#deadlineFor('firstByte')
    if (this.#answered) this.#release()
  }

  /** Stops reading: the client is slower than the upstream. */
  pause(): void {
    this.#paused = true
    this.deadline = 0
    this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    if (this.#receiving) this.deadline = this.#deadlineFor('idle')
    this.#socket.resume()
  }

  /** Ends the connection at once; the attempt hears nothing more. */
  destroy(): void {
    if (this.#state.kind === 'closed') return
    this.#state = CLOSED
    this.#socket.destroy()
    unwatchDeadline(this)
    this.#owner.onClosed(this)
  }

  /** Deadline of `deadlines.ts`. */
  expire(): void {
    if (this.#state.kind !== 'busy') return this.destroy()
    this.#fail(new GatewayError(this.#connected ? 'upstream_timeout' : 'upstream_connect_timeout'))
  }

  // What the parser says

  onInformational(status: number, fields: FieldLines): void {
    if (this.#state.kind === 'busy') this.#state.attempt.onInformational(status, fields)
  }

  onHead(head: ResponseHead): void {
    this.#keepAlive = head.keepAlive
    this.#idleSeconds = idleSecondsOf(head, this.#endpoint.idleTimeout)
    if (this.#state.kind !== 'busy') return
    this.#receiving = true
    this.#state.attempt.onHead(head)
  }

  onData(data: Buffer): void {
    if (this.#state.kind === 'busy') this.#state.attempt.onData(data)
  }

  onEnd(trailers: FieldLines): void {
    if (this.#state.kind !== 'busy') return
    const { attempt } = this.#state
    this.#answered = true
    this.#receiving = false
    this.deadline = 0
    attempt.onEnd(trailers)
    if (this.#requestSent) this.#release()
  }

  // What the socket says

  #connectPlain(): net.Socket {
    const { host, port } = this.#endpoint
    const socket = net.connect({
      host,
      port,
      onread: {
        buffer: readBuffer,
        callback: count => {
          this.#onBytes(readBuffer.subarray(0, count))
          return true
        },
      },
    })
    socket.once('connect', () => this.#onConnected())
    return socket
  }

  #connectTls(options: NonNullable<Endpoint['tls']>): net.Socket {
    const { host, port } = this.#endpoint
    const { ca, servername } = options
    const socket = tls.connect({
      host,
      port,
      ALPNProtocols: ['http/1.1'],
      ...(ca === undefined ? {} : { ca }),
      ...(servername === undefined ? {} : { servername }),
    })
    socket.once('secureConnect', () => this.#onConnected())
    socket.on('data', (bytes: Buffer) => this.#onBytes(bytes))
    return socket
  }

  #onConnected(): void {
    this.#connected = true
    if (this.#state.kind === 'busy') this.deadline = this.#requestSent ? this.#deadlineFor('firstByte') : 0
  }

  #onBytes(bytes: Buffer): void {
    if (this.#state.kind !== 'busy') {
      // Nothing was asked: whatever this is, it must not become the answer to the next request.
      this.destroy()
      return
    }
    const { attempt } = this.#state
    this.#heard = true
    try {
      this.#parser.execute(bytes)
    } catch (error) {
      if (!(error instanceof MalformedResponse)) throw error
      this.#fail(new GatewayError('upstream_malformed', { cause: error }))
      return
    }
    if (this.#receiving && !this.#paused) this.deadline = this.#deadlineFor('idle')
    attempt.afterRead()
  }

  #onEnd(): void {
    if (this.#state.kind !== 'busy') return this.destroy()
    const { attempt } = this.#state
    const whole = this.#heard && this.#parser.close()
    if (!whole)
      this.#fail(
        new GatewayError('upstream_reset', { cause: new Error('closed before the end of the answer') }),
      )
    else if (this.#answered) {
      attempt.afterRead()
      this.destroy()
    }
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#state.kind !== 'busy') return this.destroy()
    if (this.#connected) return this.#fail(new GatewayError('upstream_reset', { cause: error }))
    const tlsFailed = this.#endpoint.tls !== null && !CONNECT_ERRORS.has(error.code ?? '')
    this.#fail(new GatewayError(tlsFailed ? 'upstream_tls' : 'upstream_unreachable', { cause: error }))
  }

  #onClose(): void {
    if (this.#state.kind === 'busy') this.#onError(new Error('the connection closed'))
    else this.destroy()
  }

  #fail(error: GatewayError): void {
    const state = this.#state
    this.destroy()
    if (state.kind === 'busy' && !this.#answered) state.attempt.onFailure(error)
  }

  #release(): void {
    if (!this.#keepAlive || this.#state.kind !== 'busy') return this.destroy()
    this.#state = IDLE
    this.deadline = deadlineIn(this.#idleSeconds)
    // A slow client may have left it paused; idle, it must hear the upstream's FIN.
    this.#socket.resume()
    this.#owner.onReleased(this)
  }

  #deadlineFor(phase: 'firstByte' | 'idle'): number {
    return this.#state.kind === 'busy' ? deadlineIn(this.#state.attempt.timeouts[phase]) : 0
  }
}

const CONNECT_ERRORS: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EADDRNOTAVAIL',
])

/** Less than the upstream announces in `Keep-Alive: timeout=N`, so that a request seldom meets its closing. */
function idleSecondsOf(head: ResponseHead, configured: number): number {
  const announced = /(?:^|[,\s])timeout=(\d{1,6})/i.exec(findField(head.fields, 'keep-alive') ?? '')
  return announced === null ? configured : Math.min(configured, Math.max(0, Number(announced[1]) - 1))
}
