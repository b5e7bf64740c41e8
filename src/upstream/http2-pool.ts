/** The HTTP/2 connections to one endpoint: as few as can carry what is asked, a bound on all, a queue behind the bound. */

import { GatewayError } from '../errors.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import type { Endpoint, Timeouts } from './endpoint.ts'
import { Http2Session, type SessionOwner } from './http2-session.ts'

/** Requests that may wait for one endpoint; beyond, waiting would not help either. */
const MAX_WAITING = 4_096
/** Requests that a connection is opened for, as long as nobody knows how many it will take. */
const EXPECTED_STREAMS = 100

/** Who asks for a connection. */
export interface SessionClient {
  /** There is room on it for one request. */
  onSession(session: Http2Session): void
  /** None could be opened, or none had room in time: `upstream_busy`. */
  onNoSession(error: GatewayError): void
}

export class Http2Pool implements SessionOwner {
  readonly endpoint: Endpoint
  /** Those that take requests, or will: in order of age, so that the younger ones fall idle first. */
  readonly #sessions = new Set<Http2Session>()
  /** In order of arrival. */
  readonly #waiting = new Set<Waiter>()
  #closed = false

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
  }

  get size(): number {
    return this.#sessions.size
  }

  /**
   * Gives `client` a connection that has room: at once, or when there is one, in order of arrival.
   * @returns how to give up waiting, or null when served at once
   */
  acquire(client: SessionClient, timeouts: Timeouts): (() => void) | null {
    const session = this.#waiting.size === 0 ? this.#withRoom() : null
    if (session !== null) {
      client.onSession(session)
      return null
    }
    if (this.#waiting.size >= MAX_WAITING) {
      client.onNoSession(new GatewayError('upstream_busy'))
      return null
    }
    const waiter = new Waiter(client, deadlineIn(timeouts.firstByte), () => this.#waiting.delete(waiter))
    this.#waiting.add(waiter)
    watchDeadline(waiter)
    this.#openMore(timeouts.connect)
    return () => this.#forget(waiter)
  }

  /** Closes idle connections now and busy ones at the end of their requests. */
  close(): void {
    this.#closed = true
    // One that is still connecting may be what requests wait for: it leaves when it has served them.
    for (const session of [...this.#sessions])
      if (!session.connecting || this.#waiting.size === 0) session.leave()
  }

  onRoom(session: Http2Session): void {
    while (session.room > 0) {
      const [waiter] = this.#waiting
      if (waiter === undefined) break
      this.#forget(waiter)
      waiter.client.onSession(session)
    }
    if (session.idle && (this.#closed || this.#idle > this.endpoint.maxIdleConnections)) session.leave()
    else this.#openMore(this.endpoint.timeouts.connect)
  }

  onLeaving(session: Http2Session): void {
    this.#sessions.delete(session)
    this.#openMore(this.endpoint.timeouts.connect)
  }

  onClosed(session: Http2Session, error: GatewayError | null): void {
    this.#sessions.delete(session)
    if (error === null) return this.#openMore(this.endpoint.timeouts.connect)
    // An upstream that takes no further connection is not asked for one again and again; the others will have room.
    if (this.#sessions.size > 0) return
    for (const waiter of [...this.#waiting]) {
      this.#forget(waiter)
      waiter.client.onNoSession(error)
    }
  }

  get #idle(): number {
    let count = 0
    for (const session of this.#sessions) if (session.idle) count++
    return count
  }

  #withRoom(): Http2Session | null {
    for (const session of this.#sessions) if (session.room > 0) return session
    return null
  }

  #openMore(seconds: number): void {
    let expected = 0
    for (const session of this.#sessions) if (session.connecting) expected += EXPECTED_STREAMS
    if (this.#waiting.size <= expected || this.#sessions.size >= this.endpoint.maxConnections) return
    this.#sessions.add(new Http2Session(this.endpoint, this, seconds))
  }

  #forget(waiter: Waiter): void {
    this.#waiting.delete(waiter)
    unwatchDeadline(waiter)
  }
}

class Waiter implements Expiring {
  readonly client: SessionClient
  deadline: number
  readonly #leave: () => void

  constructor(client: SessionClient, deadline: number, leave: () => void) {
    this.client = client
    this.deadline = deadline
    this.#leave = leave
  }

  expire(): void {
    this.#leave()
    unwatchDeadline(this)
    this.client.onNoSession(new GatewayError('upstream_busy'))
  }
}
