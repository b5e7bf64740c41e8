/**
 * One connection to an upstream: one request at a time, its answer parsed strictly. What happens is told to the
 * attempt that owns the connection at the moment; a connection that did anything unexpected is never used again.
 */

import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import { copyOf } from '../wire/body.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { type FieldLines, findField } from '../wire/fields.ts'
import { MalformedMessage } from '../wire/malformed.ts'
import { type ResponseHead, type ResponseListener, ResponseParser } from '../wire/response-parser.ts'
import { ONE_WRITE_BYTES, writeWhole } from '../wire/whole-message.ts'
import { connectTo, hearRefusals, type SocketListeners } from './connect.ts'
import type { Endpoint, Timeouts } from './endpoint.ts'
import type { Stacked } from './idle-stack.ts'
import { LARGE_READ_BYTES, type Lender, ReadMemory } from './read-memory.ts'

/** What an attempt hears of its connection. Exactly one of `onEnd` and `onFailure` comes last. */
export interface AttemptListener extends Omit<ResponseListener, 'onUpgrade'> {
  readonly timeouts: Timeouts
  /** The bytes that arrived together have been parsed. */
  afterRead(): void
  /** The socket takes bytes again. */
  onDrain(): void
  /** The upstream takes no more of the request. An answer, or a failure, follows. */
  onRefused(): void
  onFailure(error: GatewayError): void
  /**
   * The upstream agreed to an upgrade. The socket is the attempt's from now on: paused, with `rest` of what it sent read
   * already. Nothing else follows.
   */
  onUpgraded(head: ResponseHead, socket: Socket, rest: Buffer | null): void
}

/** Told when a connection may be given to the next request, and when it is no more. */
export interface ConnectionOwner {
  onReleased(connection: Connection): void
  onClosed(connection: Connection): void
}

interface OwnedSocket extends Socket {
  owner?: Connection
}

function ownerOf(socket: OwnedSocket): Connection {
  return socket.owner!
}

/** Up to this size a chunk is cheaper copied between its size and its end than sent in three pieces. */
const ONE_STRING_BYTES = 4_096

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'busy'; readonly attempt: AttemptListener }
  | { readonly kind: 'closed' }

const IDLE: State = { kind: 'idle' }
const CLOSED: State = { kind: 'closed' }

/**
 * `uninvited`: the upstream has to say `100 Continue` first. `sending`: the client's turn. `blocked`: the upstream's.
 * `refused`: it takes no more, and its answer may be on the way.
 */
type RequestPhase = 'uninvited' | 'sending' | 'blocked' | 'refused' | 'sent'
type AnswerPhase = 'awaited' | 'receiving' | 'whole'

export class Connection implements Expiring, ResponseListener, Stacked {
  deadline = 0
  // Of the pool's idle stack
  below: Stacked | null = null
  above: Stacked | null = null
  readonly #endpoint: Endpoint
  readonly #owner: ConnectionOwner
  readonly #parser = new ResponseParser(this)
  readonly #socket: Socket
  #state: State = IDLE
  #connected = false
  #request: RequestPhase = 'sent'
  #answer: AnswerPhase = 'whole'
  /** Any byte of the current answer has arrived. */
  #heard = false
  #paused = false
  #keepAlive = true
  #hearsRefusals = false
  #corked = false
  #upgraded: ResponseHead | null = null
  readonly #memory = new ReadMemory()
  #served = 0
  #idleSeconds: number

  // The same functions for all sockets: there may be many thousands of them.
  static readonly #listeners: SocketListeners = {
    onConnected() {
      ownerOf(this).#onConnected()
    },
    onBytes(bytes, count) {
      ownerOf(this).#onBytes(bytes, count)
    },
    onDrain() {
      ownerOf(this).#onDrain()
    },
    onError(error) {
      ownerOf(this).#onError(error)
    },
    onEnd() {
      ownerOf(this).#onEnd()
    },
    onClose() {
      ownerOf(this).#onClose()
    },
  }

  constructor(endpoint: Endpoint, owner: ConnectionOwner) {
    this.#endpoint = endpoint
    this.#owner = owner
    this.#idleSeconds = endpoint.idleTimeout
    const socket: OwnedSocket = connectTo(endpoint, this.#memory, Connection.#listeners)
    socket.owner = this
    this.#socket = socket
    watchDeadline(this)
  }

  /** It has already served a request, so the upstream may be about to close it. */
  get reused(): boolean {
    return this.#served > 1
  }

  /** Where the bytes being parsed stand. */
  get memory(): Lender {
    return this.#memory
  }

  /** Any byte of an answer to the current request has arrived. */
  get heard(): boolean {
    return this.#heard
  }

  /**
   * Sends a request head.
   * @param whole all of the body, when it is here already; else it follows through `write` and `finishRequest`
   */
  send(
    method: string,
    head: string,
    whole: Buffer | null,
    attempt: AttemptListener,
    body: 'none' | 'follows' | 'on-invitation',
    mayUpgrade = false,
  ): void {
    this.#state = { kind: 'busy', attempt }
    this.#served++
    this.#request = body === 'none' ? 'sent' : body === 'follows' ? 'sending' : 'uninvited'
    this.#answer = 'awaited'
    this.#heard = false
    this.#paused = false
    this.#parser.begin(method, mayUpgrade)
    if (whole === null) this.#socket.write(head, 'latin1')
    else {
      if (whole.length > ONE_WRITE_BYTES) this.#hearRefusals()
      writeWhole(this.#socket, head, whole)
    }
    this.deadline = this.#connected ? this.#nextDeadline() : deadlineIn(attempt.timeouts.connect)
  }

  /** @returns false when the socket is full: `onDrain` follows */
  write(bytes: Buffer | string): boolean {
    if (this.#request === 'refused') return true
    this.#hearRefusals()
    const flowing =
      typeof bytes === 'string' ? this.#socket.write(bytes, 'latin1') : this.#socket.write(bytes)
    this.#request = flowing ? 'sending' : 'blocked'
    this.#arm()
    return flowing
  }

  #hearRefusals(): void {
    if (this.#hearsRefusals) return
    this.#hearsRefusals = true
    hearRefusals(this.#socket, () => this.#onRefused())
  }

  #onRefused(): void {
    if (this.#state.kind !== 'busy' || this.#request === 'refused' || this.#request === 'sent') return
    this.#request = 'refused'
    this.#arm()
    this.#state.attempt.onRefused()
  }

  /** Writes one chunk of the chunked coding. Those that arrive together leave together. */
  writeChunk(chunk: Buffer): boolean {
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      setImmediate(() => {
        this.#corked = false
        this.#socket.uncork()
      })
    }
    const size = `${chunk.length.toString(16)}\r\n`
    if (chunk.length <= ONE_STRING_BYTES) return this.write(`${size}${chunk.toString('latin1')}\r\n`)
    this.write(size)
    this.write(chunk)
    return this.write('\r\n')
  }

  /** The request is complete: the time for the answer begins. */
  finishRequest(): void {
    if (this.#request === 'refused') return
    this.#request = 'sent'
    if (this.#answer === 'whole') this.#release()
    else this.#arm()
  }

  /** Stops reading: the client is slower than the upstream. */
  pause(): void {
    this.#paused = true
    this.#arm()
    this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    this.#arm()
    this.#socket.resume()
  }

  /** An attempt wants no more of it. Nothing happens when it already serves another. */
  abandon(attempt: AttemptListener): void {
    if (this.#state.kind === 'busy' && this.#state.attempt === attempt) this.destroy()
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

  onInformational(status: number, fields: readonly string[]): void {
    if (this.#state.kind !== 'busy') return
    if (status === 100 && this.#request === 'uninvited') this.#request = 'sending'
    this.#state.attempt.onInformational(status, fields)
  }

  onHead(head: ResponseHead): void {
    // Answered before it had the whole request: whether it will ever read the rest, nobody knows.
    this.#keepAlive = head.keepAlive && this.#request === 'sent'
    this.#idleSeconds = head.derived.get(this.#endpoint, known =>
      idleSecondsOf(known, this.#endpoint.idleTimeout),
    )
    if (this.#state.kind !== 'busy') return
    this.#answer = 'receiving'
    this.#state.attempt.onHead(head)
  }

  onUpgrade(head: ResponseHead): void {
    this.#upgraded = head
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.#state.kind === 'busy') this.#state.attempt.onData(bytes, start, end)
  }

  onEnd(trailers: FieldLines): void {
    if (this.#state.kind !== 'busy') return
    this.#answer = 'whole'
    this.#state.attempt.onEnd(trailers)
    if (this.#request === 'sent') this.#release()
    else this.#arm()
  }

  // What the socket says

  #onConnected(): void {
    this.#connected = true
    this.#arm()
  }

  #onDrain(): void {
    if (this.#state.kind !== 'busy') return
    if (this.#request === 'blocked') this.#request = 'sending'
    this.#arm()
    if (this.#request !== 'refused') this.#state.attempt.onDrain()
  }

  #onBytes(bytes: Buffer, count: number): void {
    if (this.#state.kind !== 'busy') {
      // Nothing was asked: whatever this is, it must not become the answer to the next request.
      this.destroy()
      return
    }
    const { attempt } = this.#state
    this.#heard = true
    let at: number
    try {
      at = this.#parser.execute(bytes, 0, count)
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.#fail(new GatewayError('upstream_malformed', { cause: error }))
      return
    }
    if (this.#upgraded !== null) return this.#handOver(attempt, this.#upgraded, bytes, at, count)
    this.#memory.large = this.#answer === 'receiving' && count >= LARGE_READ_BYTES
    if (this.#answer === 'receiving') this.#arm()
    attempt.afterRead()
  }

  #handOver(attempt: AttemptListener, head: ResponseHead, bytes: Buffer, at: number, count: number): void {
    const socket = this.#socket
    if (socket.writableLength > 0) {
      const cause = new Error('upgraded before it had read the request')
      return this.#fail(new GatewayError('upstream_malformed', { cause }))
    }
    const rest = at < count ? copyOf(bytes, at, count) : null
    socket.pause()
    socket.allowHalfOpen = true
    // What this socket still says to this connection is not heard any more.
    this.#state = CLOSED
    unwatchDeadline(this)
    this.#owner.onClosed(this)
    attempt.onUpgraded(head, socket, rest)
  }

  #onEnd(): void {
    if (this.#state.kind !== 'busy') return this.destroy()
    const { attempt } = this.#state
    const whole = this.#heard && this.#parser.close()
    if (!whole) {
      this.#fail(
        new GatewayError('upstream_reset', { cause: new Error('closed before the end of the answer') }),
      )
    } else if (this.#answer === 'whole') {
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
    if (state.kind === 'busy' && this.#answer !== 'whole') state.attempt.onFailure(error)
  }

  #release(): void {
    // Bytes that the upstream has not taken would stand in front of the next request.
    if (!this.#keepAlive || this.#state.kind !== 'busy' || this.#socket.writableLength > 0)
      return this.destroy()
    this.#state = IDLE
    this.deadline = deadlineIn(this.#idleSeconds)
    // A slow client may have left it paused; idle, it must hear the upstream's FIN.
    if (this.#paused) this.#socket.resume()
    this.#owner.onReleased(this)
  }

  /** Sets the deadline anew after anything has moved. While connecting, the one for that stands. */
  #arm(): void {
    if (this.#state.kind === 'busy' && this.#connected) this.deadline = this.#nextDeadline()
  }

  /** The one place that says who is waited for, and how long. 0: for the client, whose time the edge keeps. */
  #nextDeadline(): number {
    if (this.#state.kind !== 'busy') return 0
    const { timeouts } = this.#state.attempt
    if (this.#request === 'blocked') return deadlineIn(timeouts.idle)
    if (this.#request === 'sending' || this.#paused || this.#answer === 'whole') return 0
    return deadlineIn(this.#answer === 'receiving' ? timeouts.idle : timeouts.firstByte)
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
