/**
 * Whose tokens are refused, by name: kept by the main thread where several gateways tell each other, for the table that all
 * threads ask knows only hashes. What is revoked here is in the table already; what others say is put into it.
 */

import { keyOf } from '../store/block.ts'
import { isOver, isSame, join, type Revocation, type RevokedKind, refusedUpTo } from '../store/revocation.ts'
import type { Revocations } from '../store/revocations.ts'
import type { Book, Sharing } from './book.ts'

/** Revocations at a time. */
const MAX_NAMES = 65_536
/** For so long it is remembered that something was taken back of which nothing else is known. */
const DAY_MS = 86_400_000

const PRUNE_MS = 60_000
const MIN_PRUNE_MS = 1_000

export class Revoking implements Book<Revocation> {
  readonly #table: Revocations
  readonly #capacity: number
  readonly #known = new Map<string, Revocation>()
  #sharing: Sharing<Revocation> | null = null
  #prunedAt = 0
  readonly #timer: NodeJS.Timeout

  constructor(table: Revocations, capacity: number = MAX_NAMES) {
    this.#table = table
    this.#capacity = capacity
    this.#timer = setInterval(() => this.prune(), PRUNE_MS)
    this.#timer.unref()
  }

  shareWith(sharing: Sharing<Revocation>): void {
    this.#sharing = sharing
  }

  entries(): Iterable<Revocation> {
    return this.#known.values()
  }

  find(named: Pick<Revocation, 'kind' | 'id'>): Revocation | undefined {
    return this.#known.get(keyOf(named))
  }

  /** What was revoked by this process just now. Without room for its name the others are told all the same, once. */
  note(revocation: Revocation, now: number = Date.now()): void {
    const known = this.find(revocation)
    const isBehind = known !== undefined && revocation.upTo <= known.restored
    // It comes after what was taken back, whatever the clock of whoever did that.
    this.#say(isBehind ? { ...revocation, upTo: known.restored + 1 } : revocation, now)
  }

  /**
   * Takes a revocation back, here and elsewhere.
   *
   * @returns whether there was one
   */
  restore(kind: RevokedKind, id: string, now: number = Date.now()): boolean {
    const known = this.find({ kind, id })
    const isKnown = known !== undefined && refusedUpTo(known) > 0
    // A thread may have revoked it a moment ago: its word is on the way.
    if (!this.#table.has(kind, id, now) && !isKnown) return false
    const restored = Math.max(now, known?.upTo ?? 0)
    const until = known?.until ?? now + DAY_MS
    this.#table.restore(kind, id, now)
    this.#say({ kind, id, upTo: 0, spared: null, floor: 0, restored, until }, now)
    return true
  }

  adopt(revocations: readonly Revocation[], now: number = Date.now()): number {
    return revocations.filter(revocation => !isOver(revocation, now) && !this.#take(revocation, now)).length
  }

  /** Lets go of what is over. */
  prune(now: number = Date.now()): void {
    this.#prunedAt = now
    const over: Revocation[] = []
    for (const [key, revocation] of this.#known) {
      if (!isOver(revocation, now)) continue
      this.#known.delete(key)
      over.push(revocation)
    }
    if (over.length > 0) this.#sharing?.forget(over)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #say(revocation: Revocation, now: number): void {
    this.#take(revocation, now)
    this.#sharing?.announce(this.find(revocation) ?? revocation)
  }

  /** @returns false when there is no room for it, here or in the table */
  #take(revocation: Revocation, now: number): boolean {
    const known = this.find(revocation)
    if (known === undefined && !this.#hasRoom(now)) return false
    const together = known === undefined ? revocation : join(known, revocation)
    if (known !== undefined && isSame(together, known)) return true
    this.#known.set(keyOf(revocation), together)
    if (refusedUpTo(together) > 0) {
      const spared = [known, revocation, together].flatMap(each => each?.spared ?? [])
      return this.#table.uphold(together, new Set(spared), now)
    }
    this.#table.restore(together.kind, together.id, now)
    return true
  }

  #hasRoom(now: number): boolean {
    if (this.#known.size < this.#capacity) return true
    // Not for each of many that find none
    if (now >= this.#prunedAt + MIN_PRUNE_MS) this.prune(now)
    return this.#known.size < this.#capacity
  }
}
