/**
 * An event stream on its way to the client: untouched, but for what the gateway may have to say between two events: that
 * it is still there, and that the stream ends because its right to run does.
 */

import { ERRORS } from '../errors.ts'
import type { EndReason, Exchange, RouteInfo } from '../exchange.ts'
import type { Identity } from '../identity/identity.ts'
import type { Lifetimes, LongLived } from '../lifetimes.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { now } from '../wire/clock.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { COMMENT, EventFollower, isEventStream } from '../wire/event-stream.ts'
import { type FieldLines, findField } from '../wire/fields.ts'

export interface EventStreamSettings {
  /** Seconds of silence after which a comment is sent. */
  readonly heartbeat?: number | undefined
  /** Clients know the event named `error` with which a stream ends that has lost its right. */
  readonly errorEvent: boolean
}

/** How the event streams of a route are kept. */
export interface EventStreamOptions {
  readonly settings: EventStreamSettings
  readonly lifetimes: Lifetimes
}

type Kind = 'other' | 'plain' | 'encoded'

/** Whether an answer with these fields is an event stream, and one whose lines can be read. */
export function streamKind(fields: readonly string[]): Kind {
  if (!isEventStream(findField(fields, 'content-type'))) return 'other'
  const coding = findField(fields, 'content-encoding')
  return coding === undefined || coding.toLowerCase() === 'identity' ? 'plain' : 'encoded'
}

/** The body of an answer, kept in the way of an event stream if it is one. */
export function keptBody(
  kind: Kind,
  body: BodySource,
  exchange: Exchange,
  { settings, lifetimes }: EventStreamOptions,
): BodySource {
  return kind === 'other' ? body : new EventStream(body, exchange, settings, lifetimes, kind === 'encoded')
}

/** Something may be put into it, or it may end before its time: no length that an upstream said can hold. */
export function isKept(body: BodySource | null): boolean {
  return body instanceof EventStream
}

/** Seconds in which an event that has begun may end, before the stream does. */
const CLOSING_SECONDS = 2

const DETAILS: Readonly<Record<EndReason, string>> = {
  token_expired: 'Token has expired.',
  token_revoked: 'Token has been revoked.',
  company_blocked: ERRORS.company_blocked.detail,
  user_blocked: ERRORS.user_blocked.detail,
  session_blocked: ERRORS.session_blocked.detail,
  ip_blocked: ERRORS.ip_blocked.detail,
  route_changed: 'The configuration of this route has changed.',
  draining: 'The gateway is stopping.',
  idle_timeout: 'Nothing happened for too long.',
  frame_too_large: 'The message is too large.',
  slow_client: 'The client is too slow.',
}

class EventStream implements BodySource, BodySink, LongLived, Expiring {
  deadline = 0
  readonly #source: BodySource
  readonly #exchange: Exchange
  readonly #settings: EventStreamSettings
  readonly #lifetimes: Lifetimes
  /** Null: its bytes are encoded, and nothing can be put between them. */
  readonly #events: EventFollower | null
  readonly #rightEndsAt: number
  #sink: BodySink | null = null
  #reason: EndReason | null = null
  #words: string | null = null
  #movedAt = 0
  #blocked = false

  /** @param encoded its content is compressed */
  constructor(
    source: BodySource,
    exchange: Exchange,
    settings: EventStreamSettings,
    lifetimes: Lifetimes,
    encoded: boolean,
  ) {
    this.#source = source
    this.#exchange = exchange
    this.#settings = settings
    this.#lifetimes = lifetimes
    this.#events = encoded ? null : new EventFollower()
    this.#rightEndsAt = lifetimes.deadlineOf(this.#lasts ? exchange.identity : null)
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

  /**
   * What an EventSource holds open ends with its right. An answer to another method is a request that runs, which may
   * finish, unless the route says that its clients know how such a stream ends.
   */
  get #lasts(): boolean {
    return this.#exchange.method === 'GET' || this.#settings.errorEvent
  }

  endFor(reason: EndReason, words: string | null = null): void {
    if (this.#sink === null || this.#reason !== null) return
    this.#reason = reason
    this.#words = words
    if (this.#events === null || this.#events.atEvent) return this.#sayAndEnd()
    this.deadline = deadlineIn(CLOSING_SECONDS)
  }

  expire(): void {
    if (this.#reason !== null) return this.#endNow()
    const time = now()
    if (time >= this.#rightEndsAt) return this.endFor('token_expired')
    const { heartbeat } = this.#settings
    if (heartbeat !== undefined && time >= this.#movedAt + heartbeat * 1000) {
      this.#movedAt = time
      if (!this.#blocked && this.#events?.atLine) this.#blocked = !this.#sink!.write(COMMENT)
    }
    this.#arm()
  }

  #arm(): void {
    const { heartbeat } = this.#settings
    const silentAt =
      heartbeat === undefined || this.#events === null
        ? Number.POSITIVE_INFINITY
        : this.#movedAt + heartbeat * 1000
    const next = Math.min(this.#rightEndsAt, silentAt)
    this.deadline = next === Number.POSITIVE_INFINITY ? 0 : next
  }

  /** Says why, where clients expect that, then ends as streams end. */
  #sayAndEnd(): void {
    if (this.#settings.errorEvent && this.#events !== null) {
      const reason = this.#words === null ? {} : { reason: this.#words }
      const data = JSON.stringify({ code: this.#reason, detail: DETAILS[this.#reason!], ...reason })
      this.#sink!.write(Buffer.from(`event: error\ndata: ${data}\n\n`))
    }
    this.#endNow()
  }

  #endNow(): void {
    const sink = this.#sink
    if (sink === null) return
    this.#exchange.endReason = this.#reason
    this.#leave()
    this.#source.cancel()
    sink.end([])
  }

  #leave(): void {
    this.#sink = null
    this.deadline = 0
    unwatchDeadline(this)
    this.#lifetimes.remove(this)
  }

  // BodySource, for the client's side

  pipe(sink: BodySink): void {
    this.#sink = sink
    this.#movedAt = now()
    watchDeadline(this)
    this.#arm()
    if (this.#lasts) this.#lifetimes.add(this)
    this.#source.pipe(this)
  }

  pause(): void {
    this.#source.pause()
  }

  resume(): void {
    this.#blocked = false
    this.#source.resume()
  }

  cancel(): void {
    this.#leave()
    this.#source.cancel()
  }

  // BodySink, for the upstream's side

  write(chunk: Buffer): boolean {
    const sink = this.#sink
    if (sink === null) return true
    this.#movedAt = now()
    this.#events?.follow(chunk)
    const flowing = sink.write(chunk)
    this.#blocked = !flowing
    if (this.#reason !== null && this.#events?.atEvent) this.#sayAndEnd()
    return flowing
  }

  get settled(): boolean {
    return this.#sink?.settled ?? false
  }

  end(trailers: FieldLines): void {
    const sink = this.#sink
    this.#leave()
    sink?.end(trailers)
  }

  fail(error: Error): void {
    const sink = this.#sink
    this.#leave()
    sink?.fail(error)
  }
}
