/**
 * The streams of one thread at one upstream: answers that go on for long, WebSockets, and requests that take long, be it
 * that their bodies come slowly. They hold their slots to their end, so one company could have all of them, with streams
 * that hardly need any. Hence some are **lent**:
 *
 * - those of streams at rest, in which next to nothing has moved for a while, to everybody;
 * - those that a company has beyond its part of the limit, to the others.
 *
 * For what it has besides, a company pays with its turns while others wait. Time is the caller's, in milliseconds.
 */

import type { Slots } from './slots.ts'

/** What moves: bytes in either direction, so far. */
export interface Moving {
  readonly bytesSent: number
  readonly bytesReceived: number
  readonly body: { readonly received: number; readonly completedAt: number } | null
}

/** A request is one when it has taken long. It is at rest only while its body comes: behind that the upstream works for it. */
export type StreamKind = 'answer' | 'request'

/** Between two looks at all streams. */
export const LOOK_MS = 1_000
/** One that has moved no more than `AT_REST_BYTES` for so long is at rest: a heartbeat now and then is no work. */
const AT_REST_MS = 10_000
const AT_REST_BYTES = 128
/** A request that has ended by then did not take long. */
export const LONG_MS = 1_000
/** The part of the limit beyond which a company's streams lend their slots to others. */
const PART = 1 / 4
/** A company to which others' streams at rest lend nothing has so many at rest itself, as a part of the most slots there may be. */
const MOST_AT_REST = 1 / 2

export class Stream {
  readonly company: string
  readonly weight: number
  readonly #kind: StreamKind
  readonly #moving: Moving
  readonly #since: number
  #moved: number
  #movedAt: number
  /** Whether it is a stream now. */
  lasts: boolean
  atRest = false

  constructor(company: string, weight: number, moving: Moving, now: number, kind: StreamKind = 'answer') {
    this.company = company
    this.weight = weight
    this.#kind = kind
    this.#moving = moving
    this.#since = now
    this.#moved = this.#bytes
    this.#movedAt = now
    this.lasts = kind === 'answer'
  }

  /** Finds out whether it is one, and at rest. */
  look(now: number): void {
    if (this.#kind === 'request') this.lasts = now - this.#since >= LONG_MS
    if (this.#bytes - this.#moved > AT_REST_BYTES) {
      this.#moved = this.#bytes
      this.#movedAt = now
    }
    const canRest = this.#kind === 'answer' || this.#moving.body?.completedAt === 0
    this.atRest = canRest && now - this.#movedAt >= AT_REST_MS
  }

  get #bytes(): number {
    const { bytesSent, bytesReceived, body } = this.#moving
    return bytesSent + bytesReceived + (body === null ? 0 : body.received)
  }
}

/** Of one company. */
interface Account {
  weight: number
  working: number
  resting: number
}

export interface StreamsOptions {
  readonly slots: Slots
  readonly worker: number
  /** Slots that there may be at most. */
  readonly most: () => number
  /** A company has held slots for so many milliseconds while others waited. */
  readonly charge: (company: string, weight: number, held: number) => void
}

export class Streams {
  readonly #options: StreamsOptions
  readonly #all = new Set<Stream>()
  readonly #accounts = new Map<string, Account>()
  #resting = 0
  #over = 0
  #part = 1
  #lookedAt = 0
  /** Whether any slots are lent; those that hold theirs are charged for them. */
  lends: boolean

  constructor(options: StreamsOptions, lends: boolean) {
    this.#options = options
    this.lends = lends
  }

  get count(): number {
    return this.#all.size
  }

  add(stream: Stream, now: number): void {
    if (this.#all.size === 0) {
      this.#lookedAt = now
      this.#part = this.#partOfLimit()
    }
    this.#all.add(stream)
    if (stream.lasts) this.#countNow(stream, 1)
  }

  remove(stream: Stream): void {
    if (this.#all.delete(stream) && stream.lasts) this.#countNow(stream, -1)
  }

  /** How many of the slots in use this company may have all the same. */
  lentTo(company: string): number {
    const { slots, most } = this.#options
    const account = this.#accounts.get(company)
    if (account === undefined) return slots.lent
    const resting = account.resting > Math.max(1, (most() * MOST_AT_REST) / slots.workers) ? 0 : slots.resting
    return resting + (account.working > this.#part ? 0 : slots.over)
  }

  /** Every `LOOK_MS`: who is at rest, and what is to be paid for the time since the last look, should others have waited. */
  look(now: number): void {
    const elapsed = now - this.#lookedAt
    this.#lookedAt = now
    if (this.#options.slots.waiting > 0) {
      for (const [company, { weight, working, resting }] of this.#accounts) {
        const held = this.lends ? Math.min(working, this.#part) : working + resting
        if (held > 0) this.#options.charge(company, weight, held * elapsed)
      }
    }
    this.#accounts.clear()
    this.#resting = 0
    this.#over = 0
    this.#part = this.#partOfLimit()
    for (const stream of this.#all) {
      stream.look(now)
      if (stream.lasts) this.#count(stream, 1)
    }
    this.#lend()
  }

  #partOfLimit(): number {
    const { slots } = this.#options
    return Math.max(1, Math.floor((slots.limit * PART) / slots.workers))
  }

  #countNow(stream: Stream, by: 1 | -1): void {
    this.#count(stream, by)
    this.#lend()
  }

  #count(stream: Stream, by: 1 | -1): void {
    let account = this.#accounts.get(stream.company)
    if (account === undefined) {
      account = { weight: stream.weight, working: 0, resting: 0 }
      this.#accounts.set(stream.company, account)
    }
    if (stream.atRest) {
      account.resting += by
      this.#resting += by
    } else {
      const before = account.working
      account.working += by
      this.#over += Math.max(0, account.working - this.#part) - Math.max(0, before - this.#part)
    }
    if (account.working + account.resting === 0) this.#accounts.delete(stream.company)
  }

  #lend(): void {
    const { slots, worker } = this.#options
    if (this.lends) slots.lend(worker, this.#resting, this.#over)
    else slots.lend(worker, 0, 0)
  }
}
