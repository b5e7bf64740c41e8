/**
 * Sign-outs and blocked users, seen by all threads as soon as `revoke` returns. They live in a table of shared counters
 * of their own: a session's counter is 1 while it is revoked, a user's is the moment up to which tokens are refused.
 *
 * A thread that remembers verified tokens need not ask about each at each request: it remembers the `version` under
 * which a token was found good, read before asking, and asks again only when that has changed.
 */

import { SharedCounters, type Step } from './shared-counters.ts'
import { checkBuffer, createBuffer, HEADER_WORDS, type Layout } from './shared-header.ts'

const LAYOUT: Layout = { name: 'revocations', kind: 3, version: 1 }

const STATE_BYTES = 64
const VERSION_AT = HEADER_WORDS
/** The second (unsigned, so until 2106) up to which something may be revoked. */
const UNTIL_AT = HEADER_WORDS + 1
const LAST_SECOND = 2 ** 32 - 1

export type RevokedKind = 'session' | 'user'

/** What another thread needs to attach. */
export interface RevocationBuffers {
  readonly state: SharedArrayBuffer
  readonly entries: SharedArrayBuffer
}

export class Revocations {
  readonly buffers: RevocationBuffers
  readonly #state: Int32Array
  readonly #entries: SharedCounters

  private constructor(state: SharedArrayBuffer, entries: SharedCounters) {
    this.buffers = { state, entries: entries.buffer }
    this.#state = new Int32Array(state)
    this.#entries = entries
  }

  /**
   * Room for `capacity` revocations at a time, about 71 bytes each.
   *
   * @param now the moment from which expiry is counted, in milliseconds since 1970
   * @throws RangeError when the capacity is not within 1 to 25 million
   */
  static create(capacity: number, now: number = Date.now()): Revocations {
    return new Revocations(createBuffer(LAYOUT, STATE_BYTES), SharedCounters.create({ capacity, now }))
  }

  /**
   * The revocations that another thread created.
   *
   * @throws TypeError when the buffers hold something else
   */
  static attach(buffers: RevocationBuffers): Revocations {
    checkBuffer(LAYOUT, buffers.state)
    return new Revocations(buffers.state, SharedCounters.attach(buffers.entries))
  }

  /** Changes whenever something is revoked or restored. One atomic load. */
  get version(): number {
    return Atomics.load(this.#state, VERSION_AT)
  }

  /**
   * Refuses all tokens of a session, or all that a user was issued up to now, until a moment that should not be earlier
   * than the expiry of the last such token. Doing it again only ever lengthens it.
   *
   * @param until milliseconds since 1970, rounded up to tenths of a second
   * @param now milliseconds since 1970
   * @param issuedUpTo for users: tokens issued up to this moment are refused, in milliseconds; later than `now` by as
   *   much as the issuer's clock may run ahead of ours, or Infinity to block the user
   * @returns false when there is no room (or a moment is not a number), and nothing was revoked: the caller has to know,
   *   for the tokens still pass
   */
  revoke(kind: RevokedKind, id: string, until: number, now: number, issuedUpTo: number = now): boolean {
    if (Number.isNaN(until)) return false
    this.#raiseUntil(until)
    const key = this.#entries.key(nameOf(kind, id))
    const mark = kind === 'session' ? 1 : Math.max(1, issuedUpTo)
    const marked = this.#entries.update(key, later, mark, 0, until, now)
    // After the entry: who sees the new version sees the entry as well.
    Atomics.add(this.#state, VERSION_AT, 1)
    return marked !== null && marked > 0
  }

  /** Takes a revocation back: the tokens pass again. */
  restore(kind: RevokedKind, id: string, now: number): void {
    this.#entries.reset(this.#entries.key(nameOf(kind, id)), now)
    Atomics.add(this.#state, VERSION_AT, 1)
  }

  /**
   * Whether a token is refused. One atomic load while nothing is revoked.
   *
   * @param sessionId the token's session, if it names one
   * @param userId its subject
   * @param issuedAt its `iat`, in seconds; a token without one cannot prove that it is newer than a revocation. Most
   *   issuers give whole seconds, so a token issued in the very second of the revocation is refused too.
   * @param now milliseconds since 1970
   */
  isRevoked(sessionId: string | null, userId: string, issuedAt: number | null, now: number): boolean {
    const until = Atomics.load(this.#state, UNTIL_AT) >>> 0
    if (until === 0 || (until < LAST_SECOND && now >= until * 1000)) return false
    if (sessionId !== null && this.#marked('session', sessionId, now) > 0) return true
    const issuedUpTo = this.#marked('user', userId, now)
    if (issuedUpTo === 0) return false
    return issuedAt === null || !(issuedAt * 1000 > issuedUpTo)
  }

  #marked(kind: RevokedKind, id: string, now: number): number {
    return this.#entries.read(this.#entries.key(nameOf(kind, id)), now)
  }

  /** Before the entry: who sees no such moment looks for no entries. */
  #raiseUntil(until: number): void {
    // A second more than asked, for entries live up to a tenth of a second longer.
    const second = Math.min(LAST_SECOND, Math.ceil(until / 1000) + 1)
    for (;;) {
      const seen = Atomics.load(this.#state, UNTIL_AT)
      if (seen >>> 0 >= second) return
      if (Atomics.compareExchange(this.#state, UNTIL_AT, seen, second | 0) === seen) return
    }
  }
}

const later: Step = (current, moment) => Math.max(current, moment)

function nameOf(kind: RevokedKind, id: string): string {
  return `${kind}|${id}`
}
