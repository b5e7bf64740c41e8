/**
 * One connection of a client that speaks HTTP/2: its streams served side by side, its times kept, and what it may do
 * bounded. Frames, flow control and header compression are those of `node:http2`.
 */

import {
  constants,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Client } from '../exchange.ts'
import { HeldBytes } from '../wire/body.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import type { FieldLines } from '../wire/fields.ts'
import { plainAddress, type TrustedProxies } from './client-address.ts'
import type { OpenConnection } from './client-connection.ts'
import type { Http2Answer } from './http2-answer.ts'
import { type Http2Message, Http2RequestReader } from './http2-request.ts'
import { PerSecond } from './rate.ts'
import { type BodyPace, IncomingBody } from './request-body.ts'

export interface Http2Limits {
  /** Requests that one connection may have open at a time. */
  readonly maxStreams: number
  /** Requests that one connection may take back per second. */
  readonly maxResets: number
}

/** What a connection asks of the door it came through. */
export interface Http2Host extends Http2Limits {
  /** Seconds. */
  readonly headerTimeout: number
  readonly keepAliveTimeout: number
  readonly pace: BodyPace
  /** Takes in a request and answers it. Never throws. */
  receive(
    connection: Http2Connection,
    stream: ServerHttp2Stream,
    message: Http2Message,
    body: IncomingBody | null,
  ): Http2Answer
  /** A peer was sent away for what it did. */
  onFlooded(connection: Http2Connection, what: string): void
  onClosed(connection: OpenConnection): void
}

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_FLAG_END_STREAM, NGHTTP2_NO_ERROR } = constants

/** More than any client has reason for: gRPC measures its bandwidth with a PING per round trip. */
const MAX_PINGS = 500
const MAX_SETTINGS = 50
/** Frames that break a rule without breaking the connection. */
const MAX_INVALID_FRAMES = 100
/** Fields in a section: more than are served, so that a few too many are told so with a status. */
const MAX_FIELD_PAIRS = 512
const MAX_SECTION_BYTES = 65_536
/** What a client may send ahead of being read: bounds the memory of a stream, and its speed over a long way. */
const STREAM_WINDOW = 262_144
const CONNECTION_WINDOW = 1_048_576
/** MB of frames, streams and sections that one connection may cause; streams beyond it are refused. */
const MIN_SESSION_MEMORY = 16
const SESSION_MEMORY_PER_STREAM = 0.16
/**
 * What streams that were broken off had not sent counts against that for ever: before all others are refused for it, the
 * client is asked to come back through another connection.
 */
const MAX_UNSENT_BYTES = 8 * 1_048_576
/** The frame parser's own limit on resets stands far behind ours, which says why. */
const NATIVE_RESETS = 4_096

/** Seconds between the word that no new requests should come and the end of taking them: a round trip, and more. */
const RETIRE_SECONDS = 1
/** Seconds that a closed connection gets for its last words. */
const CLOSING_SECONDS = 2
const LAST_STREAM = 2 ** 31 - 1

/** `retiring`: asked to go, still taking what is on its way. `closing`: no new requests. */
type Phase = 'greeting' | 'taking' | 'retiring' | 'closing' | 'ended'

export class Http2Connection implements Expiring, OpenConnection {
  deadline = 0
  readonly peer: string
  readonly protocol: 'http' | 'https'
  /** `performance.now()` */
  readonly openedAt = now()
  // Written by receive: who the peer is, and whether its word on that counts
  judgedBy: TrustedProxies | null = null
  trusted = false
  client: Client | null = null
  clientAuthority = ''
  readonly #host: Http2Host
  readonly #socket: Socket
  readonly #session: ServerHttp2Session
  readonly #reader = new Http2RequestReader()
  readonly #resets: PerSecond
  readonly #pings = new PerSecond(MAX_PINGS)
  readonly #settings = new PerSecond(MAX_SETTINGS)
  #phase: Phase = 'greeting'
  /** Streams that have not closed. */
  #open = 0
  /** Bytes, of all streams that have. */
  #unsent = 0

  /** @param socket what was read of it stands in its buffer */
  constructor(socket: Socket, host: Http2Host) {
    this.#host = host
    this.#socket = socket
    this.#resets = new PerSecond(host.maxResets)
    this.peer = plainAddress(socket.remoteAddress)
    this.protocol = socket instanceof TLSSocket ? 'https' : 'http'
    const { maxStreams } = host
    const session = performServerHandshake(socket, {
      settings: {
        maxConcurrentStreams: maxStreams,
        initialWindowSize: STREAM_WINDOW,
        maxHeaderListSize: MAX_SECTION_BYTES,
      },
      maxHeaderListPairs: MAX_FIELD_PAIRS,
      maxSettings: 32,
      maxSessionInvalidFrames: MAX_INVALID_FRAMES,
      maxSessionRejectedStreams: maxStreams,
      maxSessionMemory: Math.max(MIN_SESSION_MEMORY, Math.ceil(maxStreams * SESSION_MEMORY_PER_STREAM)),
      streamResetBurst: Math.max(NATIVE_RESETS, 4 * host.maxResets),
      streamResetRate: Math.max(NATIVE_RESETS, 4 * host.maxResets),
      // Which fields may stand twice is between the upstream and the client
      strictSingleValueFields: false,
    })
    this.#session = session
    session.setLocalWindowSize(CONNECTION_WINDOW)
    session.on('stream', (stream, _, flags, fields) => this.#onStream(stream, flags, fields))
    session.on('remoteSettings', () => this.#onSettings())
    session.on('ping', () => this.#pings.exceeded() && this.#sendAway('PING frames'))
    // What broke it is told by the end of its socket.
    session.on('error', ignore)
    // Whoever asks and then ends the connection does not wait for an answer.
    socket.on('end', () => this.destroy())
    socket.on('close', () => this.#onEnd())
    this.deadline = deadlineIn(host.headerTimeout)
    watchDeadline(this)
  }

  /** Nothing is owed in either direction. */
  get idle(): boolean {
    return this.#open === 0
  }

  /** No more requests are wanted, or none are taken. */
  get retiring(): boolean {
    return this.#phase !== 'taking' && this.#phase !== 'greeting'
  }

  /**
   * Asks the client to open no more streams here, and takes none after a while (RFC 9113 §6.8): in between it may not
   * have heard yet. What runs is finished.
   */
  retire(): void {
    if (this.retiring || this.#session.destroyed) return
    this.#phase = 'retiring'
    this.#session.goaway(NGHTTP2_NO_ERROR, LAST_STREAM)
    this.deadline = deadlineIn(RETIRE_SECONDS)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** A request was given up by the client, or broken off for what it did. */
  takenBack(): void {
    if (this.#resets.exceeded()) this.#sendAway('requests taken back')
  }

  /** A stream has closed that was given more than it sent. */
  leftUnsent(bytes: number): void {
    this.#unsent += bytes
    if (this.#unsent > MAX_UNSENT_BYTES) this.retire()
  }

  tellWhenFinished(stream: ServerHttp2Stream): void {
    stream.once('finish', onFinish)
  }

  /** Deadline of `deadlines.ts`. */
  expire(): void {
    if (this.#phase === 'retiring') return this.#close()
    if (this.#phase === 'closing' || this.#phase === 'greeting') return this.destroy()
    if (this.#open === 0) this.#close()
  }

  // What the session says

  #onStream(stream: ServerHttp2Stream, flags: number, fields: readonly string[]): void {
    stream.on('error', ignore)
    // Taken back in the same breath
    if (stream.closed) return this.takenBack()
    this.#open++
    if (!this.retiring) {
      this.#phase = 'taking'
      this.deadline = 0
    }
    const ended = (flags & NGHTTP2_FLAG_END_STREAM) !== 0
    const message = this.#reader.read(fields, ended)
    const hasBody = !ended && message.framing !== 0
    const body = hasBody ? bodyOf(stream, this.#host.pace) : null
    const subject = stream as AnsweredStream
    subject[CONNECTION] = this
    stream.on('close', onClose)
    stream.on('drain', onDrain)
    stream.on('wantTrailers', onWantTrailers)
    if (body !== null) stream.on('aborted', onAborted)
    subject[ANSWER] = this.#host.receive(this, stream, message, body)
  }

  streamClosed(): void {
    this.#open--
    if (this.#open > 0) return
    if (this.#phase === 'taking') this.deadline = deadlineIn(this.#host.keepAliveTimeout)
    else if (this.#phase === 'closing') this.deadline = deadlineIn(CLOSING_SECONDS)
  }

  #onSettings(): void {
    if (this.#settings.exceeded()) return this.#sendAway('SETTINGS frames')
    if (this.#phase !== 'greeting') return
    this.#phase = 'taking'
    if (this.#open === 0) this.deadline = deadlineIn(this.#host.keepAliveTimeout)
  }

  /** Takes no new requests, and ends with the last that runs. */
  #close(): void {
    this.#phase = 'closing'
    if (this.#open === 0) this.deadline = deadlineIn(CLOSING_SECONDS)
    this.#session.close()
  }

  #sendAway(what: string): void {
    if (this.#phase === 'ended' || this.#session.destroyed) return
    this.#phase = 'closing'
    this.#host.onFlooded(this, what)
    this.deadline = deadlineIn(CLOSING_SECONDS)
    this.#session.destroy(new Error(`too many ${what}`), NGHTTP2_ENHANCE_YOUR_CALM)
  }

  #onEnd(): void {
    this.#phase = 'ended'
    unwatchDeadline(this)
    this.#host.onClosed(this)
  }
}

const ANSWER = Symbol('answer')
const CONNECTION = Symbol('connection')

/** Listeners are the same functions for all streams: what they are about stands on the stream. */
interface AnsweredStream extends ServerHttp2Stream {
  [ANSWER]: Http2Answer
  [CONNECTION]: Http2Connection
}

/** What broke a stream or a connection is told by its close. */
function ignore(): void {}

function onClose(this: ServerHttp2Stream): void {
  const { [ANSWER]: answer, [CONNECTION]: connection } = this as AnsweredStream
  connection.streamClosed()
  answer.closed()
}

function onAborted(this: ServerHttp2Stream): void {
  ;(this as AnsweredStream)[ANSWER].takenBack()
}

function onDrain(this: ServerHttp2Stream): void {
  ;(this as AnsweredStream)[ANSWER].drained()
}

function onWantTrailers(this: ServerHttp2Stream): void {
  ;(this as AnsweredStream)[ANSWER].wantTrailers()
}

function onFinish(this: ServerHttp2Stream): void {
  ;(this as AnsweredStream)[ANSWER].finished()
}

/**
 * The request's body, as the stream delivers it. A stream that is paused would keep an object for each frame, and a
 * frame may hold a single byte: a window full of them takes a hundred times its size. So it always flows, and what comes
 * while nobody takes it is held in one piece; that no more comes is said to the frame parser alone.
 */
function bodyOf(stream: ServerHttp2Stream, pace: BodyPace): IncomingBody {
  const held = new HeldBytes()
  let paused = false
  let ended = false
  let trailers: FieldLines = []
  const body = new IncomingBody({ pauseBody, resumeBody }, pace)

  function pauseBody(): void {
    paused = true
  }

  function resumeBody(): void {
    if (!paused) return
    paused = false
    const bytes = held.take()
    if (bytes !== null) take(bytes)
    if (paused) return
    if (ended) body.end(trailers)
    else read.call(stream, 0)
  }

  function take(bytes: Buffer): void {
    body.push(bytes, 0, bytes.length)
    body.settle()
  }

  const { push, _read: read } = stream
  stream.push = (chunk: Buffer | null, encoding?: BufferEncoding) =>
    push.call(stream, chunk, encoding) && !paused
  // A stream that flows asks for more by itself: without this the client would never have to wait.
  stream._read = size => {
    if (!paused) read.call(stream, size)
  }
  stream.on('data', (chunk: Buffer) => {
    if (paused) held.append(chunk, 0, chunk.length)
    else take(chunk)
  })
  stream.on('trailers', (_headers, _flags, fields: FieldLines) => {
    trailers = fields
  })
  stream.on('end', () => {
    // A stream that was reset ends in the same way, and its body must not look whole.
    if (stream.closed) return
    ended = true
    if (held.length === 0) body.end(trailers)
  })
  return body
}
