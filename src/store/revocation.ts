/**
 * Whose tokens are refused, as several gateways tell each other. What two know of the same is put together by taking the
 * most of each: the order in which anybody hears of it makes no difference, nor does hearing it twice.
 */

import { MAX_ID_LENGTH } from './block.ts'

export type RevokedKind = 'session' | 'user'

export interface Revocation {
  readonly kind: RevokedKind
  readonly id: string
  /** The moment of it; of a user tokens issued up to then are refused, of a session all. Milliseconds since 1970. */
  readonly upTo: number
  /** The one session of the user that is not meant; null: all are. */
  readonly spared: string | null
  /** What is refused of that one as well: tokens issued up to then. */
  readonly floor: number
  /** What lies no later than this was taken back; 0: nothing was. */
  readonly restored: number
  /** No token that it refuses is good after this moment, in milliseconds since 1970. */
  readonly until: number
}

/** One that spares nobody. */
export function revocationOf(kind: RevokedKind, id: string, upTo: number, until: number): Revocation {
  return { kind, id, upTo, spared: null, floor: 0, restored: 0, until }
}

/** Names that can be told to others as they are. */
export function isTellable(id: string): boolean {
  return id !== '' && id.length <= MAX_ID_LENGTH && id.isWellFormed()
}

/** What two say of the same: refused is what either refuses, but for what was taken back. */
export function join(one: Revocation, other: Revocation): Revocation {
  const [first, second] = one.upTo >= other.upTo ? [one, other] : [other, one]
  const floor = Math.max(first.floor, refusedOf(second, first.spared))
  const spares = first.spared !== null && floor < first.upTo
  return {
    kind: first.kind,
    id: first.id,
    upTo: first.upTo,
    spared: spares ? first.spared : null,
    floor: spares ? floor : 0,
    restored: Math.max(one.restored, other.restored),
    until: Math.max(one.until, other.until),
  }
}

/** Up to which moment tokens of a session are refused, taken back or not. */
function refusedOf({ upTo, spared, floor }: Revocation, sessionId: string | null): number {
  return spared !== null && spared === sessionId ? floor : upTo
}

/**
 * Up to which moment tokens are refused.
 *
 * @param sessionId null: of a session that is not spared
 * @returns 0: none are
 */
export function refusedUpTo(revocation: Revocation, sessionId: string | null = null): number {
  const moment = refusedOf(revocation, sessionId)
  return moment > revocation.restored ? moment : 0
}

export function isSame(one: Revocation, other: Revocation): boolean {
  return (
    one.upTo === other.upTo &&
    one.spared === other.spared &&
    one.floor === other.floor &&
    one.restored === other.restored &&
    one.until === other.until
  )
}

/** Nothing follows from it any more. */
export function isOver({ until }: Revocation, now: number): boolean {
  return until <= now
}
