import { heapBytes } from './heap-size.ts'
import type { Identity } from './identity.ts'

/**
 * What an entry takes beside its token and claims: entry, map slot, identity, the header lines written from it, and
 * its share of what is remembered of those that left.
 */
const ENTRY_BYTES = 500

/** The part of the budget that tokens seen once may take from those seen again. */
const NEWCOMERS = 1 / 4

interface Entry {
  readonly token: string
  readonly identity: Identity
  readonly bytes: number
  /** Was asked for since it joined its queue. */
  used: boolean
}

/**
 * Verified tokens, keyed by the whole token, bounded by bytes. Tokens that failed verification never get in.
 *
 * Two queues decide who leaves when the budget is spent (S3-FIFO): new tokens join the first, and at its end only
 * those that were asked for again move on to the second, where each gets another round for being asked for. Who comes
 * back soon after leaving joins the second at once, so that regulars of the past make room. A crowd of valid tokens
 * that are used once, from one user with many sessions or from one company, passes through a quarter of the memory,
 * and the others keep theirs. A hit costs a look-up and a flag.
 */
export class TokenCache {
  readonly #budget: number
  readonly #entries = new Map<string, Entry>()
  #newcomers = new Queue()
  #regulars = new Queue()
  #departed = new Departed()

  /** @param bytes upper bound for both queues together */
  constructor(bytes: number) {
    this.#budget = bytes
  }

  /** @param now seconds since the epoch; with the leeway already taken off */
  get(token: string, now: number): Identity | undefined {
    const entry = this.#entries.get(token)
    if (entry === undefined) return undefined
    if (entry.identity.expiresAt > now) {
      entry.used = true
      return entry.identity
    }
    // Its bytes are counted until its turn comes in the queue.
    this.#entries.delete(token)
    return undefined
  }

  /** @param token ASCII, as every verified token is */
  set(token: string, identity: Identity): void {
    const bytes = ENTRY_BYTES + token.length + heapBytes(identity.claims)
    if (bytes > this.#budget) return
    // A copy: the token is a slice of a request head, and could keep all of that in memory.
    const own = Buffer.from(token, 'latin1').toString('latin1')
    const entry: Entry = { token: own, identity, bytes, used: false }
    this.#entries.set(own, entry)
    const queue = this.#departed.has(own) ? this.#regulars : this.#newcomers
    queue.push(entry)
    this.#makeRoom()
  }

  /** Forgets everything, as when keys changed. */
  clear(): void {
    this.#entries.clear()
    this.#newcomers = new Queue()
    this.#regulars = new Queue()
    this.#departed = new Departed()
  }

  get size(): number {
    return this.#entries.size
  }

  /** Estimated upwards. */
  get bytes(): number {
    return this.#newcomers.bytes + this.#regulars.bytes
  }

  #makeRoom(): void {
    while (this.bytes > this.#budget) {
      const crowded = this.#newcomers.bytes > this.#budget * NEWCOMERS
      const entry = crowded ? this.#newcomers.shift() : this.#regulars.shift()
      const current = this.#entries.get(entry.token) === entry
      if (current && entry.used) {
        entry.used = false
        this.#regulars.push(entry)
      } else if (current) {
        this.#entries.delete(entry.token)
        if (crowded) this.#departed.add(entry.token, this.#entries.size)
      }
    }
  }
}

/** Tokens that left without being asked for again: their last characters, which no two share but by rare accident. */
class Departed {
  #recent = new Set<string>()
  #earlier = new Set<string>()

  has(token: string): boolean {
    const end = token.slice(-12)
    return this.#recent.has(end) || this.#earlier.has(end)
  }

  /** @param limit at most twice as many are remembered */
  add(token: string, limit: number): void {
    if (this.#recent.size >= limit) {
      this.#earlier = this.#recent
      this.#recent = new Set()
    }
    this.#recent.add(token.slice(-12))
  }
}

/** First in, first out. */
class Queue {
  bytes = 0
  #entries: (Entry | null)[] = []
  #first = 0

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.bytes += entry.bytes
  }

  /** Must not be empty. */
  shift(): Entry {
    const entry = this.#entries[this.#first]!
    this.#entries[this.#first++] = null
    this.bytes -= entry.bytes
    // `Array.shift` moves all that remain each time; this moves them once for each half that left.
    if (this.#first * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#first)
      this.#first = 0
    }
    return entry
  }
}
