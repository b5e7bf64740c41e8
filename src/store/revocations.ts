/**
 * Sign-outs and revoked users, seen by all threads as soon as `revoke` returns. They live in a table of shared counters
 * of their own. The counter of a session or a user is its mark: the moment up to which tokens are refused, in
 * milliseconds since 1970.
 *
 * A thread that remembers verified tokens need not ask about each at each request: it remembers the `version` under
 * which a token was found good, read before asking, and asks again only when that has changed.
 */

import { MAX_VALUE } from './counter-table.ts'
import { type Revocation, type RevokedKind, refusedUpTo } from './revocation.ts'
import { DECLINED, SharedCounters, type Step } from './shared-counters.ts'
import { checkBuffer, createBuffer, HEADER_WORDS, type Layout } from './shared-header.ts'

const LAYOUT: Layout = { name: 'revocations', kind: 3, version: 1 }

const STATE_BYTES = 64
const VERSION_AT = HEADER_WORDS
/** The second (unsigned, so until 2106) up to which something may be revoked. */
const UNTIL_AT = HEADER_WORDS + 1
const LAST_SECOND = 2 ** 32 - 1

/** What a token says of whom it speaks for. */
export interface Holder {
  /** The session, if the token names one. */
  readonly sessionId: string | null
  readonly userId: string
  /**
   * Its `iat`, in seconds; a token without one cannot prove that it is newer than a revocation. Most issuers give whole
   * seconds, so a token issued in the very second of the revocation is refused too.
   */
  readonly issuedAt: number | null
}

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
   * Room for `capacity` revocations at a time, about 61 bytes each.
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
   * Refuses all tokens of a session, or all that a user was issued up to now, until a moment that should
   * not be earlier than the expiry of the last such token. Doing it again only ever lengthens it.
   *
   * @param until milliseconds since 1970, rounded up to tenths of a second; Infinity: until it is restored
   * @param now milliseconds since 1970
   * @param issuedUpTo for users: tokens issued up to this moment are refused, in milliseconds; later than `now` by as
   *   much as the issuer's clock may run ahead of ours, or Infinity to block the user
   * @returns false when there is no room (or a moment is not a number), and nothing was revoked: the caller has to know,
   *   for the tokens still pass
   */
  revoke(kind: RevokedKind, id: string, until: number, now: number, issuedUpTo: number = now): boolean {
    if (Number.isNaN(until) || Number.isNaN(issuedUpTo)) return false
    this.#raiseUntil(until)
    const revoked =
      kind === 'user'
        ? this.#set('user', id, beyond, Math.ceil(issuedUpTo), until, now)
        : this.#set('session', id, later, MAX_VALUE, until, now)
    this.#changed()
    return revoked
  }

  /**
   * Refuses all tokens that a user was issued up to now but for those of one session, which are refused as soon as the
   * user is revoked once more. What was refused before stays refused, in that session too.
   *
   * @returns false like `revoke`
   */
  revokeOthers(
    userId: string,
    sessionId: string,
    until: number,
    now: number,
    issuedUpTo: number = now,
  ): boolean {
    if (Number.isNaN(until) || Number.isNaN(issuedUpTo)) return false
    this.#raiseUntil(until)
    const revoked = this.#revokeAllBut(userId, sessionId, until, now, Math.ceil(issuedUpTo))
    this.#changed()
    return revoked
  }

  #revokeAllBut(userId: string, sessionId: string, until: number, now: number, issuedUpTo: number): boolean {
    for (let tries = 0; ; tries++) {
      const before = this.#mark('user', userId, now)
      // Who is spared once more was not refused so far. Behind a first try what is read may be this thread's own word.
      const isSpared = tries === 0 && this.#mark('spared', sessionId, now) >= before
      const refused = isSpared ? 0 : before
      const mark = Math.min(MAX_VALUE, Math.max(issuedUpTo, before + 1))
      // In this order, so that there is no moment in which the session is refused, or forgiven what came before.
      if (refused > 0 && !this.#set('session', sessionId, later, refused, until, now)) return false
      if (!this.#set('spared', sessionId, later, mark, until, now)) return false
      const step: Step = current => (current === before ? mark : DECLINED)
      const result = this.#entries.update(this.#entries.key(nameOf('user', userId)), step, 0, 0, until, now)
      if (result !== DECLINED) return result !== null
    }
  }

  /**
   * Refuses what others know, as far as it is not refused yet. Nothing that is refused is forgiven.
   *
   * @param sessions those of its user that are, or were, spared: what else is known of them may not be the same
   * @returns false when there was no room for all of it
   */
  uphold(revocation: Revocation, sessions: Iterable<string>, now: number): boolean {
    const { kind, id, spared, until } = revocation
    const upTo = refusedUpTo(revocation)
    this.#raiseUntil(until)
    if (kind === 'session') return this.#raise('session', id, MAX_VALUE, until, now)
    let upheld = true
    for (const session of sessions) {
      const moment = refusedUpTo(revocation, session)
      if (this.#refusedUpTo(id, session, now) < moment)
        upheld = this.#raise('session', session, moment, until, now) && upheld
    }
    if (spared === null) return this.#raise('user', id, upTo, until, now) && upheld
    const mark = this.#mark('user', id, now)
    if (mark > upTo || (mark === upTo && this.#mark('spared', spared, now) === mark)) {
      // It is all there, but may have to live longer.
      upheld = this.#raise('spared', spared, upTo, until, now) && upheld
      return this.#raise('user', id, upTo, until, now) && upheld
    }
    upheld = this.#revokeAllBut(id, spared, until, now, upTo) && upheld
    this.#changed()
    return upheld
  }

  /** All threads ask about all tokens again where it makes a difference, and only there. */
  #raise(kind: EntryKind, id: string, moment: number, until: number, now: number): boolean {
    const before = this.#mark(kind, id, now)
    const raised = this.#set(kind, id, later, moment, until, now)
    if (before < moment) this.#changed()
    return raised
  }

  #refusedUpTo(userId: string, sessionId: string, now: number): number {
    const mark = this.#mark('user', userId, now)
    const isSpared = this.#mark('spared', sessionId, now) >= mark
    return Math.max(isSpared ? 0 : mark, this.#mark('session', sessionId, now))
  }

  /**
   * Takes a revocation back: the tokens pass again.
   *
   * @returns whether there was one
   */
  restore(kind: RevokedKind, id: string, now: number): boolean {
    const was = this.has(kind, id, now)
    this.#entries.reset(this.#entries.key(nameOf(kind, id)), now)
    this.#changed()
    return was
  }

  /** Whether a session or a user is revoked. */
  has(kind: RevokedKind, id: string, now: number): boolean {
    return this.#mark(kind, id, now) > 0
  }

  /**
   * Whether a token is refused. One atomic load while nothing is revoked.
   *
   * @param now milliseconds since 1970
   */
  isRevoked(holder: Holder, now: number): boolean {
    const until = Atomics.load(this.#state, UNTIL_AT) >>> 0
    if (until === 0 || (until < LAST_SECOND && now >= until * 1000)) return false
    const { sessionId, userId, issuedAt } = holder
    const mark = this.#mark('user', userId, now)
    if (isIssuedUpTo(mark, issuedAt)) {
      if (sessionId === null || this.#mark('spared', sessionId, now) < mark) return true
    }
    // After the user's: who sees that a session is spared sees also what it is not forgiven.
    return sessionId !== null && isIssuedUpTo(this.#mark('session', sessionId, now), issuedAt)
  }

  #mark(kind: EntryKind, id: string, now: number): number {
    return this.#entries.read(this.#entries.key(nameOf(kind, id)), now)
  }

  #set(kind: EntryKind, id: string, step: Step, mark: number, until: number, now: number): boolean {
    const result = this.#entries.update(this.#entries.key(nameOf(kind, id)), step, mark, 0, until, now)
    return result !== null && result > 0
  }

  /** After the entries: who sees the new version sees them as well. */
  #changed(): void {
    Atomics.add(this.#state, VERSION_AT, 1)
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

/** `spared`: a session's counter is the user's mark up to which it is not meant. */
type EntryKind = RevokedKind | 'spared'

const later: Step = (current, moment) => Math.max(current, moment)
/** Always beyond what a session was spared from before. */
const beyond: Step = (current, moment) => Math.max(current + 1, moment)

function isIssuedUpTo(mark: number, issuedAt: number | null): boolean {
  return mark > 0 && (issuedAt === null || !(issuedAt * 1000 > mark))
}

function nameOf(kind: EntryKind, id: string): string {
  return `${kind}|${id}`
}
