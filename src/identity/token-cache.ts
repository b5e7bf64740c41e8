import type { Identity } from './identity.ts'

/** What an entry costs beside its token's own characters: claims, map slot, strings. Measured, rounded up. */
const ENTRY_OVERHEAD_BYTES = 2_000

/**
 * Verified tokens, keyed by the whole token, bounded by bytes. Two generations: entries in use move to the young
 * one, and when that is full the old one is dropped whole; no list to maintain on a hit. Tokens that failed
 * verification never get in, so a flood of them pushes nobody out.
 */
export class TokenCache {
  readonly #budget: number
  #young = new Map<string, Identity>()
  #old = new Map<string, Identity>()
  #youngBytes = 0

  /** @param bytes upper bound for both generations together */
  constructor(bytes: number) {
    this.#budget = bytes / 2
  }

  /** @param now seconds since the epoch; with the leeway already taken off */
  get(token: string, now: number): Identity | undefined {
    let identity = this.#young.get(token)
    if (identity === undefined) {
      identity = this.#old.get(token)
      if (identity === undefined) return undefined
      this.#old.delete(token)
      if (identity.expiresAt > now) this.set(token, identity)
    }
    if (identity.expiresAt > now) return identity
    this.#young.delete(token)
    return undefined
  }

  set(token: string, identity: Identity): void {
    const bytes = 3 * token.length + ENTRY_OVERHEAD_BYTES
    if (this.#youngBytes + bytes > this.#budget) {
      this.#old = this.#young
      this.#young = new Map()
      this.#youngBytes = 0
    }
    if (bytes > this.#budget) return
    this.#young.set(token, identity)
    this.#youngBytes += bytes
  }

  /** Forgets everything, as when keys changed. */
  clear(): void {
    this.#young = new Map()
    this.#old = new Map()
    this.#youngBytes = 0
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }
}
