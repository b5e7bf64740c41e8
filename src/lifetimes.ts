/**
 * What lasts longer than a request: WebSockets and event streams of this thread. They end when their token does, when it
 * is revoked, when an operator blocks whom they serve, when their route changes, and when the gateway stops.
 */

import type { EndReason, RouteInfo } from './exchange.ts'
import type { Identity } from './identity/identity.ts'
import type { Revocations } from './identity/verify.ts'
import type { AskedBlocks } from './store/blocks.ts'
import { now } from './wire/clock.ts'

export interface LongLived {
  /** Whose right it lives by; null: nobody's in particular. */
  readonly identity: Identity | null
  /** The route that it came by. Written here, when another configuration has the same route. */
  route: RouteInfo | null
  /** Address of its client. */
  readonly ip: string
  /**
   * Says goodbye in the way of its protocol, then ends. It may be called again, for another reason; then nothing more
   * happens.
   *
   * @param words an operator's, for the client
   */
  endFor(reason: EndReason, words?: string | null): void
}

/** What there is to say to a stream whose right has ended. */
interface End {
  readonly reason: EndReason
  readonly words: string | null
}

const REVOKED: End = { reason: 'token_revoked', words: null }

/** Time between two looks at revocations and blocks. */
const LOOK_MS = 100
/** All are looked at no more often than this, however many are signed out. Those of the blocked end within a second. */
const SWEEP_MS = 500
/** Part of the drain time within which streams are ended, so that none is cut at its end. */
const DRAIN_PART = 0.8

export class Lifetimes {
  #leeway: number
  readonly #revocations: Revocations | null
  readonly #blocks: AskedBlocks | null
  readonly #all = new Set<LongLived>()
  #version = 0
  #sweptAt = 0
  #timer: NodeJS.Timeout | null = null
  #drainUntil = 0
  /** Routes of configurations before this one, and the same route in the next; null: there is none. */
  readonly #successors = new WeakMap<RouteInfo, RouteInfo | null>()
  /** Until when those without a route end. */
  #replacedUntil = 0
  readonly #leaving = new WeakSet<LongLived>()

  /** @param leeway seconds by which clocks may differ */
  constructor(leeway: number, revocations: Revocations | null, blocks: AskedBlocks | null = null) {
    this.#leeway = leeway
    this.#revocations = revocations
    this.#blocks = blocks
    this.#version = this.#latest
  }

  get size(): number {
    return this.#all.size
  }

  /** Milliseconds since 1970 at which an identity's right ends. */
  endOf(identity: Identity): number {
    return (identity.expiresAt + this.#leeway) * 1000
  }

  /** The same on the clock of `deadlines.ts`; nobody's right never ends. */
  deadlineOf(identity: Identity | null): number {
    return identity === null ? Number.POSITIVE_INFINITY : now() + this.endOf(identity) - Date.now()
  }

  add(stream: LongLived): void {
    this.#all.add(stream)
    if (this.#drainUntil > 0) this.#endSoon(stream, 'draining', this.#drainUntil)
    this.#follow(stream)
    if (this.#revocations === null && this.#blocks === null) return
    if (this.#timer === null) {
      this.#version = this.#latest
      this.#timer = setInterval(() => this.#look(), LOOK_MS)
      this.#timer.unref()
    }
    // Its token was looked at before its upstream was asked, which may be long ago.
    if (this.#endAgainst(stream) !== null) setImmediate(() => this.#check(stream))
  }

  remove(stream: LongLived): void {
    this.#all.delete(stream)
    if (this.#all.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  /** Ends all of them, one after the other, so that their clients do not all come back at once. */
  drain(seconds: number): void {
    this.#drainUntil = Date.now() + seconds * 1000 * DRAIN_PART
    for (const stream of this.#all) this.#endSoon(stream, 'draining', this.#drainUntil)
  }

  /**
   * Another configuration takes over. Streams whose route it has unchanged go on; the others end within the time, one
   * after the other, so that what is guarded now is not what was guarded then.
   * @param successors every route before, and the same route from now on, or null
   */
  replaceRoutes(
    successors: Iterable<readonly [RouteInfo, RouteInfo | null]>,
    { leeway, seconds }: { leeway: number; seconds: number },
  ): void {
    for (const [route, successor] of successors) this.#successors.set(route, successor)
    this.#leeway = leeway
    this.#replacedUntil = Date.now() + seconds * 1000 * DRAIN_PART
    for (const stream of this.#all) this.#follow(stream)
  }

  /** It may have come by a route of several configurations ago: its upstream took that long to answer. */
  #follow(stream: LongLived): void {
    for (let { route } = stream; route !== null; { route } = stream) {
      const successor = this.#successors.get(route)
      if (successor === undefined) return
      if (successor === null) return this.#leave(stream)
      stream.route = successor
    }
  }

  #leave(stream: LongLived): void {
    if (this.#leaving.has(stream)) return
    this.#leaving.add(stream)
    this.#endSoon(stream, 'route_changed', this.#replacedUntil)
  }

  #endSoon(stream: LongLived, reason: EndReason, until: number): void {
    const wait = Math.random() * Math.max(0, until - Date.now())
    setTimeout(() => this.#all.has(stream) && stream.endFor(reason), wait).unref()
  }

  /** Both only ever count up: their sum is new whenever one of them is. */
  get #latest(): number {
    return (this.#revocations?.version ?? 0) + (this.#blocks?.version ?? 0)
  }

  #look(): void {
    const version = this.#latest
    const time = now()
    if (version === this.#version || time - this.#sweptAt < SWEEP_MS) return
    this.#version = version
    this.#sweptAt = time
    for (const stream of this.#all) this.#check(stream)
  }

  #check(stream: LongLived): void {
    const end = this.#endAgainst(stream)
    if (end !== null && this.#all.has(stream)) stream.endFor(end.reason, end.words)
  }

  #endAgainst({ identity, ip }: LongLived): End | null {
    const blocks = this.#blocks
    const byAddress = blocks?.againstAddress(ip) ?? null
    const block = byAddress ?? (identity === null ? null : (blocks?.against(identity) ?? null))
    if (block !== null) return { reason: `${block.kind}_blocked`, words: block.reason }
    return identity !== null && this.#revocations?.isRevoked(identity) ? REVOKED : null
  }
}
