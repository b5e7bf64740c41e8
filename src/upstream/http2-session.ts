/**
 * One HTTP/2 connection to an upstream, for many requests at a time: connected, its settings known, then open until it
 * was idle for long, or the upstream wants no more of it. There are no pings: servers of gRPC take them for an attack
 * where nobody agreed on them. What is silent for too long is ended by the deadlines of its requests.
 */

import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
} from 'node:http2'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import { GatewayError } from '../errors.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import type { FieldLines } from '../wire/fields.ts'
import { MAX_HEAD_BYTES } from '../wire/response-parser.ts'
import type { Endpoint } from './endpoint.ts'

export interface SessionOwner {
  /** It can take another request: it has just opened, or one has ended. */
  onRoom(session: Http2Session): void
  /** It takes no more requests. Those that are running end in their own time. */
  onLeaving(session: Http2Session): void
  /** @param error why, where it never opened */
  onClosed(session: Http2Session, error: GatewayError | null): void
}

/** Requests at a time where the upstream would take any number: they share one congestion window. */
const MAX_STREAMS = 1_000
/** What an upstream may send ahead of a slow client, for each request, and of all on one connection. */
const STREAM_WINDOW = 131_072
const SESSION_WINDOW = 1_048_576
const MAX_FIELDS = 512
/**
 * MB of what waits to be sent, over all requests of a connection, beyond which Node refuses every answer on it. Each
 * request is kept within its own bounds, so this is more than all of them together.
 */
const SESSION_MEMORY = 512
/** What streams that were broken off had not sent counts against that for ever: then another connection has to take over. */
const MAX_UNSENT_BYTES = 16 * 1_048_576

type State = 'connecting' | 'open' | 'leaving' | 'closed'

export class Http2Session implements Expiring {
  deadline: number
  readonly #endpoint: Endpoint
  readonly #owner: SessionOwner
  readonly #socket: Socket
  #session: ClientHttp2Session | null = null
  #state: State = 'connecting'
  #reached = false
  #maxStreams = 0
  #streams = 0
  #served = 0
  /** Bytes, of all streams that are closed. */
  #unsent = 0
  #failure: Error | null = null

  /** @param seconds for the connection to be made, TLS and the upstream's settings included */
  constructor(endpoint: Endpoint, owner: SessionOwner, seconds: number) {
    this.#endpoint = endpoint
    this.#owner = owner
    this.#socket = connect(endpoint)
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, 60_000)
    this.#socket.once('connect', () => {
      this.#reached = true
      if (endpoint.tls === null) this.#begin()
    })
    this.#socket.once('secureConnect', () => this.#begin())
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.once('close', () => this.#onClosed())
    this.deadline = deadlineIn(seconds)
    watchDeadline(this)
  }

  get connecting(): boolean {
    return this.#state === 'connecting'
  }

  /** Requests that it could take right now. */
  get room(): number {
    return this.#alive ? this.#maxStreams - this.#streams : 0
  }

  get idle(): boolean {
    return this.#alive && this.#streams === 0
  }

  /** Its requests hear of its end before it says so itself: what waits must not be given to it meanwhile. */
  get #alive(): boolean {
    const session = this.#session
    return this.#state === 'open' && session !== null && !session.closed && !session.destroyed
  }

  /** It has already served a request, so the upstream may be about to close it. */
  get reused(): boolean {
    return this.#served > 1
  }

  /** What went wrong with all of it, or null. */
  get failure(): Error | null {
    return this.#failure
  }

  /** Only where there is room. `released` follows, when the stream has closed. */
  request(fields: FieldLines, options: ClientSessionRequestOptions): ClientHttp2Stream {
    this.#streams++
    this.#served++
    this.deadline = 0
    return this.#session!.request(fields, options)
  }

  /** @param unsent bytes that the stream was given and, as far as is known, did not send */
  released(unsent: number): void {
    this.#streams--
    this.#unsent += unsent
    if (this.#unsent > MAX_UNSENT_BYTES) return this.leave()
    if (this.#streams === 0) this.deadline = deadlineIn(this.#endpoint.idleTimeout)
    if (this.room > 0) this.#owner.onRoom(this)
  }

  /** Takes no more requests, and closes when those that are running have ended. */
  leave(): void {
    if (this.#state === 'connecting') return this.destroy()
    this.#turnAway()
    this.#session?.close()
  }

  destroy(): void {
    this.#session?.destroy()
    this.#socket.destroy()
  }

  /** Deadline of `deadlines.ts`: it did not open in time, or was idle for long enough. */
  expire(): void {
    if (this.#state !== 'connecting') return this.leave()
    this.#onClosed(new GatewayError('upstream_connect_timeout'))
    this.destroy()
  }

  /** Both sides speak HTTP/2 once the upstream's settings, the first thing it has to say, are here. */
  #begin(): void {
    const { tls: secure, authority } = this.#endpoint
    if (secure !== null && (this.#socket as tls.TLSSocket).alpnProtocol !== 'h2') {
      this.#fail(new Error('the upstream did not choose h2 by ALPN'))
      this.#socket.destroy()
      return
    }
    const options = {
      createConnection: () => this.#socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW, maxHeaderListSize: MAX_HEAD_BYTES },
      maxHeaderListPairs: MAX_FIELDS,
      maxSessionMemory: SESSION_MEMORY,
      // What a client sent twice goes on twice, as over HTTP/1.1.
      strictSingleValueFields: false,
    }
    const session = http2.connect(`${secure === null ? 'http' : 'https'}://${authority}`, options)
    this.#session = session
    session.setLocalWindowSize(SESSION_WINDOW)
    session.on('error', error => this.#fail(error))
    session.on('goaway', () => this.#turnAway())
    session.on('remoteSettings', ({ maxConcurrentStreams = MAX_STREAMS }) => {
      this.#maxStreams = Math.min(maxConcurrentStreams, MAX_STREAMS)
      if (this.#state === 'connecting') {
        this.#state = 'open'
        this.deadline = deadlineIn(this.#endpoint.idleTimeout)
      }
      if (this.room > 0) this.#owner.onRoom(this)
    })
    session.once('close', () => {
      this.#socket.destroy()
      this.#onClosed()
    })
  }

  #turnAway(): void {
    if (this.#state !== 'open') return
    this.#state = 'leaving'
    this.deadline = 0
    this.#owner.onLeaving(this)
  }

  #fail(error: Error): void {
    this.#failure ??= error
  }

  #onClosed(error: GatewayError | null = null): void {
    if (this.#state === 'closed') return
    const opened = this.#state !== 'connecting'
    this.#state = 'closed'
    unwatchDeadline(this)
    this.#owner.onClosed(this, opened ? null : (error ?? this.#refusal()))
  }

  /** Why it never opened. */
  #refusal(): GatewayError {
    const cause = this.#failure ?? new Error('the connection closed')
    if (!this.#reached) return new GatewayError('upstream_unreachable', { cause })
    if (this.#session === null) return new GatewayError('upstream_tls', { cause })
    const code = (cause as NodeJS.ErrnoException).code
    return new GatewayError(code === 'ERR_HTTP2_ERROR' ? 'upstream_malformed' : 'upstream_reset', { cause })
  }
}

function connect({ host, port, tls: secure }: Endpoint): Socket {
  if (secure === null) return net.connect({ host, port })
  const { ca, servername } = secure
  return tls.connect({
    host,
    port,
    ALPNProtocols: ['h2'],
    ...(ca === undefined ? {} : { ca }),
    ...(servername === undefined ? {} : { servername }),
  })
}
