/**
 * The public keys of this thread, ready to verify with: what a `KeySource` gave last. The last good set serves while
 * the source has nothing new.
 */

import type { KeyObject } from 'node:crypto'
import { fits, importKey, SIGNATURE_ALGORITHMS } from './jwk.ts'
import type { Jwk, KeySource } from './key-source.ts'

export type KeyLookup =
  | { readonly kind: 'key'; readonly key: KeyObject }
  /** The set is known and has no such key. */
  | { readonly kind: 'unknown' }
  /** No set was ever given. */
  | { readonly kind: 'unavailable' }

const UNKNOWN: KeyLookup = { kind: 'unknown' }
const UNAVAILABLE: KeyLookup = { kind: 'unavailable' }

/** The keys that fit one algorithm. */
interface FittingKeys {
  readonly byId: ReadonlyMap<string, KeyLookup>
  /** For tokens without `kid`: the key when it is the only one, else `unknown`. */
  readonly only: KeyLookup
}

export class JwksKeys {
  readonly #source: KeySource
  readonly #onChange: (keys: number) => void
  #keys: ReadonlyMap<string, FittingKeys> | null = null

  /** @param onChange told of every new set: what was verified with the old one may no longer hold */
  constructor(source: KeySource, onChange: (keys: number) => void) {
    this.#source = source
    this.#onChange = onChange
  }

  /** A set was given at least once. */
  get ready(): boolean {
    return this.#keys !== null
  }

  /** Begins to ask for keys; resolves after the first attempt, whatever came of it. */
  start(): Promise<void> {
    return this.#source.start(keys => this.#adopt(keys))
  }

  stop(): void {
    this.#source.stop()
  }

  /**
   * The key for a token's header. A missing `kid` is accepted when only one key fits.
   * @returns a promise only while the source is asked for a key that is not at hand
   */
  find(algorithm: string, kid: string | undefined): KeyLookup | Promise<KeyLookup> {
    const known = this.#lookup(algorithm, kid)
    if (known.kind === 'key') return known
    const asked = this.#source.wanted()
    return asked === null ? known : asked.then(() => this.#lookup(algorithm, kid))
  }

  #lookup(algorithm: string, kid: string | undefined): KeyLookup {
    if (this.#keys === null) return UNAVAILABLE
    const fitting = this.#keys.get(algorithm)
    if (fitting === undefined) return UNKNOWN
    return kid === undefined ? fitting.only : (fitting.byId.get(kid) ?? UNKNOWN)
  }

  #adopt(keys: readonly Jwk[]): void {
    this.#keys = new Map(SIGNATURE_ALGORITHMS.map(algorithm => [algorithm, fittingKeys(keys, algorithm)]))
    this.#onChange(keys.length)
  }
}

/** A key that cannot be imported (too short, malformed) is as good as absent. */
function fittingKeys(keys: readonly Jwk[], algorithm: string): FittingKeys {
  const byId = new Map<string, KeyLookup>()
  const all: KeyLookup[] = []
  for (const jwk of keys) {
    const key = fits(jwk, algorithm) ? importKey(jwk, algorithm) : null
    if (key === null) continue
    const found: KeyLookup = { kind: 'key', key }
    all.push(found)
    // Of two with one id the first counts
    if (typeof jwk.kid === 'string' && !byId.has(jwk.kid)) byId.set(jwk.kid, found)
  }
  return { byId, only: all.length === 1 ? all[0]! : UNKNOWN }
}
