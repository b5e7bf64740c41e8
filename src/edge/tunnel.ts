/**
 * A WebSocket under way: bytes pass both ways as they are, each side as fast as the other takes them. The gateway
 * follows the frames only so far that it can say goodbye between two of them.
 */

import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import type {
  EndReason,
  Exchange,
  ExchangeObserver,
  Outcome,
  RouteInfo,
  TunnelSettings,
  UpstreamTunnel,
} from '../exchange.ts'
import type { Identity } from '../identity/identity.ts'
import type { Lifetimes, LongLived } from '../lifetimes.ts'
import { copyOf } from '../wire/body.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { closeFrame, FrameFollower, GOING_AWAY, TOO_BIG } from '../wire/websocket-frames.ts'
import type { ClientConnection, ConnectionHost, OpenConnection } from './client-connection.ts'
import { reset } from './closing.ts'
import { settle } from './settle.ts'
import { readerOf, readInto } from './sockets.ts'

/** What all tunnels of a door have in common. */
export interface TunnelContext {
  readonly observers: readonly ExchangeObserver[]
  readonly lifetimes: Lifetimes
  /** Seconds that the client may take nothing of what waits for it. */
  readonly sendTimeout: number
}

/** Seconds that a peer gets to end its side, once it has been told that all is over. */
const CLOSING_SECONDS = 2
/** Seconds without a byte, behind the end of one side, after which the other is not waited for. */
const HALF_CLOSED_SECONDS = 10

const REASONS: Readonly<Record<EndReason, string>> = {
  token_expired: 'token expired',
  token_revoked: 'signed out',
  company_blocked: 'company blocked',
  user_blocked: 'user blocked',
  session_blocked: 'session blocked',
  ip_blocked: 'address blocked',
  idle_timeout: 'idle for too long',
  frame_too_large: 'frame too large',
  slow_client: 'too slow',
  route_changed: 'route changed',
  draining: 'gateway is stopping',
}

/** `saying`: goodbye, as soon as a frame ends. `said`: both peers know, and are to end. `ending`: what waits leaves. */
type Phase = 'open' | 'saying' | 'said' | 'ending'

/** Joins a client's connection to an upstream's, once both have agreed to be a WebSocket. */
export function beginTunnel(
  connection: ClientConnection,
  head: string,
  exchange: Exchange,
  upstream: UpstreamTunnel,
  context: TunnelContext,
): void {
  const { host } = connection
  const { socket, rest } = connection.leave()
  exchange.onAbort(null)
  exchange.lasts()
  const tunnel = new Tunnel(exchange, upstream.settings, context, host, socket, upstream.socket)
  host.onReplaced(connection, tunnel)
  tunnel.start(head, rest, upstream.rest)
}

/** There may be many thousands: whatever is the same for all of them is shared, closures too. */
class Tunnel implements Expiring, LongLived, OpenConnection {
  deadline = 0
  readonly #exchange: Exchange
  readonly #settings: TunnelSettings
  readonly #context: TunnelContext
  readonly #host: ConnectionHost
  readonly #client: Side
  readonly #upstream: Side
  #phase: Phase = 'open'
  #reason: EndReason | null = null
  #words: string | null = null
  #outcome: Outcome = 'answered'
  /** `performance.now()` */
  #activeAt = now()
  readonly #rightEndsAt: number

  constructor(
    exchange: Exchange,
    settings: TunnelSettings,
    context: TunnelContext,
    host: ConnectionHost,
    client: Socket,
    upstream: Socket,
  ) {
    const { lifetimes } = context
    this.#exchange = exchange
    this.#settings = settings
    this.#context = context
    this.#host = host
    this.#rightEndsAt = lifetimes.deadlineOf(exchange.identity)
    this.#client = new Side(client, settings.maxFrameSize, this)
    this.#upstream = new Side(upstream, settings.maxFrameSize, this)
    watchDeadline(this)
    this.#arm()
    lifetimes.add(this)
  }

  get identity(): Identity | null {
    return this.#exchange.identity
  }

  get route(): RouteInfo | null {
    return this.#exchange.route
  }

  set route(route: RouteInfo | null) {
    this.#exchange.route = route
  }

  get ip(): string {
    return this.#exchange.client.ip
  }

  /** Writes the head of the answer, then whatever has come of both sides. */
  start(head: string, fromClient: Buffer | null, fromUpstream: Buffer | null): void {
    this.#client.socket.write(head, 'latin1')
    if (fromClient !== null) this.onBytes(this.#client, fromClient, fromClient.length)
    if (fromUpstream !== null) this.onBytes(this.#upstream, fromUpstream, fromUpstream.length)
    if (this.#upstream.socket.destroyed) this.onClosed(this.#upstream)
    if (this.#client.socket.destroyed) this.onClosed(this.#client)
  }

  readonly idle = false

  /** Ends it at once. */
  destroy(): void {
    if (this.#phase === 'ending') return this.#cutRest()
    this.#reason ??= 'draining'
    this.#cut()
  }

  endFor(reason: EndReason, words: string | null = null): void {
    if (this.#phase !== 'open') return
    this.#phase = 'saying'
    this.#reason = reason
    this.#words = words
    this.deadline = deadlineIn(CLOSING_SECONDS)
    this.#say()
  }

  // What the sides say

  onBytes(side: Side, bytes: Buffer, count: number): void {
    if (this.#phase === 'said' || this.#phase === 'ending' || side.overflowed) return
    const exchange = this.#exchange
    this.#activeAt = now()
    const stop = side.frames.follow(bytes, 0, count)
    const other = this.#opposite(side)
    if (side === this.#client) exchange.bytesReceived += stop
    else exchange.bytesSent += stop
    if (stop > 0 && !other.socket.write(copyOf(bytes, 0, stop))) {
      other.blockedAt = this.#activeAt
      side.socket.pause()
      this.#arm()
    }
    // Which side says goodbye first tells why the socket ended.
    if (exchange.closeCode === 0) exchange.closeCode = side.frames.closeCode
    if (stop < count) {
      side.overflowed = true
      this.endFor('frame_too_large')
    }
    if (this.#phase === 'saying') this.#say()
  }

  onDrain(side: Side): void {
    side.blockedAt = 0
    this.#activeAt = now()
    this.#opposite(side).socket.resume()
  }

  onEnd(side: Side): void {
    if (side.ended) return
    side.ended = true
    const other = this.#opposite(side)
    if (other.ended) return this.#end('answered')
    if (this.#phase === 'said') return
    other.socket.end()
    this.#arm()
  }

  onClosed(side: Side): void {
    if (side.closed) return
    side.closed = true
    if (this.#phase !== 'ending') this.#lose(side)
    if (this.#opposite(side).closed) this.#settle()
  }

  /** A side is gone while it was still needed. */
  #lose(side: Side): void {
    if (this.#phase === 'said') {
      side.ended = true
      if (this.#opposite(side).ended) this.#end('answered')
      return
    }
    // Behind a close frame nothing is lost, however the connection ends.
    const closing = this.#client.frames.closeCode !== 0 || this.#upstream.frames.closeCode !== 0
    if (side.ended || closing) return this.#end('answered')
    const broken = side === this.#client ? 'client_gone' : 'upstream_reset'
    this.#break(new GatewayError(broken, side.error === null ? {} : { cause: side.error }))
  }

  /** Deadline of `deadlines.ts`. */
  expire(): void {
    if (this.#phase === 'saying' || this.#phase === 'said') return this.#cut()
    if (this.#phase === 'ending') return this.#cutRest()
    const time = now()
    const slow = this.#context.sendTimeout * 1000
    if (time >= this.#rightEndsAt) return this.endFor('token_expired')
    if (isBlocked(this.#client, time - slow)) return this.#break(this.#slowClient())
    if (isBlocked(this.#upstream, time - slow)) {
      const cause = new Error('the upstream stopped reading')
      return this.#break(new GatewayError('upstream_timeout', { cause }))
    }
    if (time < this.#activeAt + this.#quietTime) return this.#arm()
    if (isOwed(this.#client)) return this.#break(this.#slowClient())
    if (this.#halfClosed) this.#cut()
    else this.endFor('idle_timeout')
  }

  get #halfClosed(): boolean {
    return this.#client.ended || this.#upstream.ended
  }

  /** Milliseconds without a byte that are too many. */
  get #quietTime(): number {
    const { idleTimeout } = this.#settings
    // Whoever is slow is not idle. Behind its end a socket does not tell that it took some of what waits.
    if (isOwed(this.#client) || isOwed(this.#upstream)) return 1000 * this.#context.sendTimeout
    return 1000 * (this.#halfClosed ? Math.min(HALF_CLOSED_SECONDS, idleTimeout) : idleTimeout)
  }

  /** The next moment at which anything could be due. That bytes have passed since, `expire` finds out. */
  #arm(): void {
    if (this.#phase !== 'open') return
    const slow = this.#context.sendTimeout * 1000
    let next = Math.min(this.#rightEndsAt, this.#activeAt + this.#quietTime)
    for (const { blockedAt } of [this.#client, this.#upstream])
      if (blockedAt > 0) next = Math.min(next, blockedAt + slow)
    this.deadline = next
  }

  /** Tells the client, and the upstream, as soon as a frame of theirs has ended. */
  #say(): void {
    const reason = this.#reason!
    const client = this.#client
    const upstream = this.#upstream
    // A peer that said goodbye hears no other, and one whose way was ended hears none at all.
    const tellsClient = upstream.frames.closeCode === 0 && !client.socket.writableEnded
    // In the middle of a frame it would be read as a part of it.
    if (tellsClient && !upstream.frames.atBoundary && !client.ended) return
    this.#phase = 'said'
    const exchange = this.#exchange
    const code =
      reason === 'frame_too_large' ? TOO_BIG : isLoss(reason) ? this.#settings.closeCode : GOING_AWAY
    exchange.endReason = reason
    const text = this.#words ?? REASONS[reason]
    if (tellsClient) {
      client.socket.write(closeFrame(code, text, false))
      if (exchange.closeCode === 0) exchange.closeCode = code
    }
    const tellsUpstream = client.frames.closeCode === 0 && !upstream.socket.writableEnded
    if (tellsUpstream && client.frames.atBoundary) upstream.socket.write(closeFrame(code, text, true))
    // What still comes is read and dropped, or it would turn the end into a reset.
    for (const { socket } of [client, upstream]) {
      socket.resume()
      socket.end()
    }
  }

  #opposite(side: Side): Side {
    return side === this.#client ? this.#upstream : this.#client
  }

  #slowClient(): GatewayError {
    this.#reason = 'slow_client'
    return new GatewayError('client_gone', { cause: new Error('the client stopped reading') })
  }

  /** Neither side can take this for a good end. */
  #break(error: GatewayError): void {
    this.#exchange.error = error
    this.#decide(error.code === 'client_gone' ? 'client_gone' : 'broken')
    for (const { socket } of [this.#client, this.#upstream]) if (!socket.destroyed) reset(socket)
  }

  /** The time for a good end is over. */
  #cut(): void {
    this.#decide('answered')
    for (const { socket } of [this.#client, this.#upstream]) socket.destroy()
  }

  /** All has been said, but somebody does not take it. */
  #cutRest(): void {
    if (isOwed(this.#client) && this.#outcome === 'answered') {
      this.#exchange.error = this.#slowClient()
      this.#outcome = 'client_gone'
    }
    for (const { socket } of [this.#client, this.#upstream]) socket.destroy()
  }

  /** Nothing more is to come of either side: what waits for them leaves, within bounds. */
  #end(outcome: Outcome): void {
    this.#decide(outcome)
    for (const { socket } of [this.#client, this.#upstream]) socket.destroySoon()
  }

  #decide(outcome: Outcome): void {
    this.#phase = 'ending'
    this.#outcome = outcome
    const { lifetimes, sendTimeout } = this.#context
    lifetimes.remove(this)
    this.deadline = deadlineIn(sendTimeout)
  }

  /** Both connections are gone. */
  #settle(): void {
    this.deadline = 0
    unwatchDeadline(this)
    this.#exchange.endReason ??= this.#reason
    settle(this.#exchange, this.#outcome, this.#context.observers)
    this.#host.onClosed(this)
  }
}

/** Bytes wait for it that it has not taken. */
function isOwed({ socket }: Side): boolean {
  return !socket.destroyed && socket.writableLength > 0
}

function isBlocked({ blockedAt }: Side, since: number): boolean {
  return blockedAt > 0 && blockedAt <= since
}

/** It has lost its right, not only its connection. */
function isLoss(reason: EndReason): boolean {
  return reason === 'token_expired' || reason === 'token_revoked' || reason.endsWith('_blocked')
}

/** One of the two connections, and how far its frames have come. */
class Side {
  readonly tunnel: Tunnel
  readonly socket: SideSocket
  readonly frames: FrameFollower
  /** `performance.now()` since when it takes no bytes; 0: it does. */
  blockedAt = 0
  /** It has ended its side. */
  ended = false
  closed = false
  /** It has sent the beginning of a frame that is too large: what follows can be told from nothing, and does not pass. */
  overflowed = false
  error: Error | null = null

  constructor(socket: Socket, maxFrameSize: number, tunnel: Tunnel) {
    this.tunnel = tunnel
    this.frames = new FrameFollower(maxFrameSize)
    this.socket = readInto(socket, reader)
    this.socket.side = this
    this.socket.on('drain', onDrain)
    this.socket.on('end', onEnd)
    this.socket.on('error', onError)
    this.socket.on('close', onClose)
  }
}

interface SideSocket extends Socket {
  side?: Side
}

function onBytes(this: SideSocket, bytes: Buffer, count: number): void {
  this.side!.tunnel.onBytes(this.side!, bytes, count)
}

const reader = readerOf(onBytes)

function onDrain(this: SideSocket): void {
  this.side!.tunnel.onDrain(this.side!)
}

function onEnd(this: SideSocket): void {
  this.side!.tunnel.onEnd(this.side!)
}

function onError(this: SideSocket, error: Error): void {
  this.side!.error = error
  this.destroy()
}

function onClose(this: SideSocket): void {
  this.side!.tunnel.onClosed(this.side!)
}
