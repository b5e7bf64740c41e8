/**
 * One connection of a client: its bytes parsed, its requests served in turn, its times kept. Requests that wait stand
 * as bytes in front of the parser, so one connection holds one upstream connection at most, and requests with effects
 * never overtake each other (RFC 9112 §9.3.2).
 */

import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Client } from '../exchange.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import type { FieldLines } from '../wire/fields.ts'
import { type Malformation, MalformedMessage } from '../wire/malformed.ts'
import { type RequestListener, type RequestMessage, RequestParser } from '../wire/request-parser.ts'
import type { Answer } from './answer.ts'
import { plainAddress, type TrustedProxies } from './client-address.ts'
import { type BodyFeed, type BodyPace, IncomingBody } from './request-body.ts'
import { readerOf, readInto } from './sockets.ts'

/** What a connection asks of the door it came through. */
export interface ConnectionHost {
  /** Seconds. */
  readonly headerTimeout: number
  readonly keepAliveTimeout: number
  readonly pace: BodyPace
  /** Takes in a request. Never throws. */
  receive(connection: ClientConnection, message: RequestMessage, body: IncomingBody | null): void
  /** Answers what cannot be understood, on the bare connection. */
  refuse(connection: ClientConnection, code: ErrorCode, reason: string): void
  /** What the connection has become stands in its place. */
  onReplaced(connection: OpenConnection, successor: OpenConnection): void
  onClosed(connection: OpenConnection): void
}

/** What the door has to know of whatever came in through it. */
export interface OpenConnection {
  /** Nothing is owed in either direction. */
  readonly idle: boolean
  /** Asks for no further requests, where the protocol can say so: it then ends with those that run. */
  retire?(): void
  /** Ends it at once. */
  destroy(): void
}

/** Bytes behind the request being answered that are taken in before the client has to wait. */
const MAX_HELD_BYTES = 65_536
/** Requests of one connection that are begun in one turn of the loop. */
const MAX_PER_TURN = 16
/** Seconds that what still arrives behind the end is dropped, so that the answer is not lost to a reset. */
const REFUSAL_LINGER = 0.5

const FAULTS: Readonly<Record<Malformation, ErrorCode>> = {
  syntax: 'malformed_request',
  head: 'headers_too_large',
  target: 'target_too_long',
  chunk: 'body_too_large',
  version: 'unsupported_version',
  coding: 'unsupported_coding',
  length: 'body_too_large',
}

/** Seconds without a request after which a connection is one of those that wait for long. */
const REST_SECONDS = 1
/** Seconds in which a peer may end its side of a connection that has ended. */
const CLOSING_SECONDS = 2

interface OwnedSocket extends Socket {
  owner?: ClientConnection
}

/** `taking`: requests. `last`: no more of them. `ended`: our side is shut, what comes is dropped. */
type Phase = 'taking' | 'last' | 'ended'

export class ClientConnection implements Expiring, OpenConnection, RequestListener, BodyFeed {
  deadline = 0
  readonly peer: string
  readonly protocol: 'http' | 'https'
  /** `performance.now()` */
  readonly openedAt = now()
  readonly socket: Socket
  /** The answer under way, or null between requests. */
  current: Answer | null = null
  // Written by receive: who the peer is, and whether its word on that counts
  judgedBy: TrustedProxies | null = null
  trusted = false
  client: Client | null = null
  clientAuthority = ''
  readonly host: ConnectionHost
  readonly #parser = new RequestParser(this)
  #phase: Phase = 'taking'
  /** The head that was parsed last, until its request is handed on. */
  #message: RequestMessage | null = null
  #body: IncomingBody | null = null
  #held: Buffer | null = null
  #parsing = false
  #yields = false
  /** The peer ended its side while some of its requests still waited. */
  #peerEnded = false
  #awaitsHead = false
  #served = false
  #rests = false
  #bodyPaused = false
  #reading = true
  #onPeerEnd: (() => void) | null = null

  // The same functions for all sockets: there may be many thousands of them.
  static readonly #reader = readerOf(function (this: OwnedSocket, bytes, count) {
    this.owner!.#onBytes(bytes, count)
  })
  static readonly #listeners: readonly [string, (this: OwnedSocket) => void][] = [
    [
      'drain',
      function () {
        this.owner!.current?.drained()
      },
    ],
    [
      'error',
      function () {
        this.destroy()
      },
    ],
    [
      'end',
      function () {
        this.owner!.#onEnd()
      },
    ],
    [
      'close',
      function () {
        this.owner!.#onClose()
      },
    ],
  ]

  constructor(accepted: Socket, host: ConnectionHost) {
    this.host = host
    this.protocol = accepted instanceof TLSSocket ? 'https' : 'http'
    const socket: OwnedSocket = readInto(accepted, ClientConnection.#reader)
    socket.owner = this
    this.socket = socket
    this.peer = plainAddress(socket.remoteAddress)
    for (const [event, listener] of ClientConnection.#listeners) socket.on(event, listener)
    this.deadline = deadlineIn(host.headerTimeout)
    watchDeadline(this)
  }

  /** Takes up what was read before it was known that this is HTTP/1. */
  begin(bytes: Buffer): void {
    this.#onBytes(bytes, bytes.length)
  }

  /** Nothing is owed in either direction. */
  get idle(): boolean {
    return (
      this.current === null && this.#held === null && this.#parser.idle && this.socket.writableLength === 0
    )
  }

  /** Whatever arrives, or waits, behind the current request is not acted upon (RFC 9112 §9.6). */
  close(): void {
    if (this.#phase === 'taking') this.#phase = 'last'
    this.#held = null
  }

  /** The current answer has ended. */
  ended(): void {
    this.current = null
    this.#body = null
    // Whoever took the body may have held it up to the last
    this.#bodyPaused = false
    if (this.#phase !== 'taking') return
    this.deadline = deadlineIn(Math.min(REST_SECONDS, this.host.keepAliveTimeout))
    this.#rests = false
    if (!this.#parsing && !this.#yields) this.#goOn()
  }

  /** Takes up what waits. */
  #goOn(): void {
    this.#yields = false
    const held = this.#held
    if (held !== null && this.current === null && this.#phase === 'taking') {
      this.#held = null
      this.#parse(held, 0, held.length)
    }
    if (this.#peerEnded && !this.#yields) this.#onEnd()
    else this.#flow()
  }

  /** Half-closes behind what was written, drops what still comes, and tells when the peer has ended too. */
  endAndDrop(onPeerEnd: () => void): void {
    this.close()
    this.#phase = 'ended'
    this.#onPeerEnd = onPeerEnd
    this.#bodyPaused = false
    this.#flow()
    this.socket.end()
  }

  /** Ends the connection behind what was written; whatever of the peer's was not read is nothing it waits for. */
  end(): void {
    this.endAndDrop(() => {})
    this.deadline = deadlineIn(CLOSING_SECONDS)
  }

  /** For a refusal without an exchange: the last word, and a moment for it to arrive. */
  endWith(text: string): void {
    this.socket.write(text)
    this.endAndDrop(() => this.socket.destroy())
    this.deadline = deadlineIn(REFUSAL_LINGER)
  }

  destroy(): void {
    this.socket.destroy()
  }

  /** Parts with its socket, which speaks another protocol from now on, and with what came behind the last request. */
  leave(): { readonly socket: Socket; readonly rest: Buffer | null } {
    const rest = this.#held
    this.#held = null
    this.#phase = 'ended'
    this.current = null
    unwatchDeadline(this)
    return { socket: this.socket, rest }
  }

  pauseBody(): void {
    this.#bodyPaused = true
    this.#flow()
  }

  resumeBody(): void {
    this.#bodyPaused = false
    this.#flow()
  }

  /** Deadline of `deadlines.ts`: for a head, or for the next request. While an answer is under way there is none. */
  expire(): void {
    if (this.current !== null) return
    if (this.#phase === 'taking' && this.#parser.idle && this.#served && !this.#rests) return this.#rest()
    // A browser's spare connection that was never needed gets no answer.
    if (this.#phase !== 'taking' || this.#parser.idle) this.socket.destroy()
    else this.#refuse('request_timeout', 'the head did not arrive in time')
  }

  /** Its answer goes on for long: what was kept for a next request is let go. */
  lasts(): void {
    this.#parser.forget()
    this.client = null
    this.clientAuthority = ''
  }

  /** Idle connections are many: what was kept for a next request is let go. */
  #rest(): void {
    this.#rests = true
    this.lasts()
    this.deadline = deadlineIn(Math.max(0, this.host.keepAliveTimeout - REST_SECONDS))
  }

  // What the parser says

  onHead(message: RequestMessage): void {
    this.#message = message
    const { framing } = message
    const hasBody = framing === 'chunked' || (framing !== 'none' && framing > 0)
    this.#body = hasBody ? new IncomingBody(this, this.host.pace) : null
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.#body?.push(bytes, start, end)
  }

  onEnd(trailers: FieldLines): void {
    this.#body?.end(trailers)
    this.current?.requestEnded()
  }

  // What the socket says

  #onBytes(bytes: Buffer, count: number): void {
    if (this.#phase === 'ended' || (this.#phase === 'last' && !this.#parser.inBody)) return
    if ((this.current !== null || this.#yields) && !this.#parser.inBody) this.#hold(bytes, 0, count)
    else this.#parse(bytes, 0, count)
  }

  #parse(bytes: Buffer, start: number, end: number): void {
    let at = start
    let begun = 0
    this.#parsing = true
    try {
      while (at < end) {
        if (this.current !== null && !this.#parser.inBody) {
          this.#hold(bytes, at, end)
          break
        }
        if (this.#phase !== 'taking' && !this.#parser.inBody) break
        if (!this.#parser.inBody && ++begun > MAX_PER_TURN) {
          this.#yield(bytes, at, end)
          break
        }
        at = this.#parser.execute(bytes, at, end)
        this.#receive()
      }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error
      this.#malformed(error)
    } finally {
      this.#parsing = false
    }
    if (this.current !== null) this.#body?.settle()
    else if (!this.#parser.idle && this.#phase === 'taking') this.#awaitHead()
  }

  /** Others are served in between: answers that need no upstream would else follow one another without an end. */
  #yield(bytes: Buffer, start: number, end: number): void {
    this.#yields = true
    this.#hold(bytes, start, end)
    setImmediate(() => this.#goOn())
  }

  /** Hands on a request whose head has come, with what came of its body in the same read. */
  #receive(): void {
    const message = this.#message
    if (message === null) return
    this.#message = null
    this.#awaitsHead = false
    this.#served = true
    this.deadline = 0
    this.host.receive(this, message, this.#body)
  }

  /** The time for a head runs from its first byte. */
  #awaitHead(): void {
    if (this.#awaitsHead) return
    this.#awaitsHead = true
    this.deadline = deadlineIn(this.host.headerTimeout)
  }

  #hold(bytes: Buffer, start: number, end: number): void {
    if (this.#phase !== 'taking') return
    const more = bytes.subarray(start, end)
    this.#held = this.#held === null ? Buffer.from(more) : Buffer.concat([this.#held, more])
    this.#flow()
  }

  /** Reads while whoever takes the body keeps up and not too much waits. */
  #flow(): void {
    const wanted =
      !this.#bodyPaused && !this.#yields && (this.#held === null || this.#held.length < MAX_HELD_BYTES)
    if (wanted === this.#reading) return
    this.#reading = wanted
    if (wanted) this.socket.resume()
    else this.socket.pause()
  }

  #malformed(error: MalformedMessage): void {
    const code = FAULTS[error.kind]
    const { current } = this
    if (current === null) return this.#refuse(code, error.message)
    current.closeAfterwards()
    current.breakRequest(new GatewayError(code, { cause: error }))
  }

  #refuse(code: ErrorCode, reason: string): void {
    if (this.socket.writable) this.host.refuse(this, code, reason)
  }

  #onEnd(): void {
    if (this.#onPeerEnd !== null) return this.#onPeerEnd()
    if (this.#yields) {
      this.#peerEnded = true
      return
    }
    if (this.current === null && !this.#parser.idle && this.#phase === 'taking')
      return this.#refuse('malformed_request', 'the connection ended within a request')
    // Whoever asks and then ends the connection does not wait for an answer.
    this.socket.destroy()
  }

  #onClose(): void {
    this.close()
    this.#phase = 'ended'
    unwatchDeadline(this)
    this.host.onClosed(this)
    this.current?.clientGone()
  }
}
