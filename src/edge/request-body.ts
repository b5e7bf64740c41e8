import { GatewayError } from '../errors.ts'
import type { RequestBody } from '../exchange.ts'
import { type BodySink, copyOf, HeldBytes } from '../wire/body.ts'
import { countBodyBytes } from '../wire/body-garbage.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import type { FieldLines } from '../wire/fields.ts'

/** Seconds before the average rate counts: connections start slowly. */
const RATE_GRACE = 10

export interface BodyPace {
  /** Longest pause, seconds. */
  readonly idle: number
  /** Bytes/s on average; 0: any. */
  readonly minRate: number
}

const ANY_PACE: BodyPace = { idle: Number.POSITIVE_INFINITY, minRate: 0 }

/** Who feeds a body, and can stop for a while. */
export interface BodyFeed {
  pauseBody(): void
  resumeBody(): void
}

/** A request body as its connection delivers it, kept to its limit and pace. */
export class IncomingBody implements RequestBody, Expiring {
  deadline = 0
  received = 0
  completedAt = 0
  readonly #feed: BodyFeed
  #pace: BodyPace
  #limit = Number.POSITIVE_INFINITY
  #sink: BodySink | null = null
  /** What came before there was a sink: at most one read's worth, then the feed is paused. */
  readonly #held = new HeldBytes()
  #trailers: FieldLines | null = null
  #broken: GatewayError | null = null
  #dropping = false
  #heldBack = false
  /** When the flow began, and how long it was held up by whoever takes it. */
  #startedAt = 0
  #pausedAt = 0
  #pausedFor = 0

  constructor(feed: BodyFeed, pace: BodyPace) {
    this.#feed = feed
    this.#pace = pace
  }

  /** All of it has arrived. */
  get complete(): boolean {
    return this.#trailers !== null
  }

  limit(bytes: number): void {
    this.#limit = Math.min(this.#limit, bytes)
    if (this.received > this.#limit) this.break(new GatewayError('body_too_large'))
  }

  takeWhole(): Buffer | null {
    if (this.#trailers === null || this.#trailers.length > 0 || this.#broken !== null) return null
    return this.#held.take()
  }

  pipe(sink: BodySink): void {
    if (this.#broken !== null) return sink.fail(this.#broken)
    this.#sink = sink
    this.#startedAt = now()
    const held = this.#held.take()
    const flowing = held === null || sink.write(held)
    if (this.#trailers !== null) return this.#finish(this.#trailers)
    this.deadline = this.#heldBack ? 0 : deadlineIn(this.#pace.idle)
    watchDeadline(this)
    if (flowing) this.#feed.resumeBody()
    else this.pause()
  }

  pause(): void {
    if (this.#pausedAt !== 0 || this.#sink === null) return
    this.#pausedAt = now()
    this.deadline = 0
    this.#feed.pauseBody()
  }

  resume(): void {
    if (this.#pausedAt === 0) return
    this.#pausedFor += now() - this.#pausedAt
    this.#pausedAt = 0
    this.deadline = deadlineIn(this.#pace.idle)
    this.#feed.resumeBody()
  }

  /** The client waits for `100 Continue`: until then its time does not run. */
  holdBack(): void {
    this.#heldBack = this.received === 0
  }

  invited(): void {
    this.#heldBack = false
    this.#startedAt = now()
    if (this.#sink !== null && this.#pausedAt === 0) this.deadline = deadlineIn(this.#pace.idle)
  }

  untimed(): void {
    this.#pace = ANY_PACE
    this.deadline = 0
  }

  cancel(): void {
    this.#held.take()
    if (this.#sink === null) return
    this.#sink = null
    this.deadline = 0
    unwatchDeadline(this)
    if (!this.complete) this.#feed.pauseBody()
  }

  break(error: GatewayError): void {
    this.#broken = error
    const sink = this.#sink
    this.cancel()
    sink?.fail(error)
  }

  /** Nobody takes the rest; it is read all the same, since it would hold up whatever follows on the connection. */
  drop(): void {
    this.cancel()
    this.#dropping = true
    this.#feed.resumeBody()
  }

  expire(): void {
    this.break(new GatewayError('request_timeout'))
  }

  // What its connection says

  /** Takes a copy of what stands from `start` to `end`. */
  push(bytes: Buffer, start: number, end: number): void {
    if (this.#dropping || this.#broken !== null) return
    if (this.#heldBack) this.invited()
    this.received += end - start
    if (this.received > this.#limit) return this.break(new GatewayError('body_too_large'))
    countBodyBytes(end - start)
    if (this.#sink === null) return this.#held.append(bytes, start, end)
    if (this.#tooSlow()) return this.expire()
    this.deadline = deadlineIn(this.#pace.idle)
    if (!this.#sink.write(copyOf(bytes, start, end))) this.pause()
  }

  /** All that arrived together has been pushed: no more of it until somebody takes what is held. */
  settle(): void {
    if (this.#sink === null && !this.complete && !this.#dropping) this.#feed.pauseBody()
  }

  end(trailers: FieldLines): void {
    this.completedAt = now()
    this.#trailers = trailers
    this.#finish(trailers)
  }

  #finish(trailers: FieldLines): void {
    const sink = this.#sink
    if (sink === null) return
    this.#sink = null
    this.deadline = 0
    unwatchDeadline(this)
    sink.end(trailers)
  }

  #tooSlow(): boolean {
    const seconds = (now() - this.#startedAt - this.#pausedFor) / 1000
    return seconds > RATE_GRACE && this.received < this.#pace.minRate * seconds
  }
}
