/** The keys of a worker: fetched by the supervisor, once for all of them. */

import type { Jwk, KeySource } from '../identity/key-source.ts'

/** Without a set the cooldown is endless, but the supervisor goes on trying: ask again after this many milliseconds. */
const MAX_SILENCE_MS = 1_000

export class RemoteKeySource implements KeySource {
  readonly #ask: () => void
  #keys: readonly Jwk[] | null
  #listener: (keys: readonly Jwk[]) => void = () => {}
  #asked: PromiseWithResolvers<void> | null = null
  #silentUntil = 0
  readonly #attempted = Promise.withResolvers<void>()

  /**
   * @param keys the last set, if there was one before this worker started
   * @param ask asks the supervisor, who answers through `answered`
   */
  constructor(keys: readonly Jwk[] | null, ask: () => void) {
    this.#keys = keys
    this.#ask = ask
  }

  start(listener: (keys: readonly Jwk[]) => void): Promise<void> {
    this.#listener = listener
    if (this.#keys === null) return this.#attempted.promise
    listener(this.#keys)
    return Promise.resolve()
  }

  wanted(): Promise<void> | null {
    if (this.#asked === null) {
      if (performance.now() < this.#silentUntil) return null
      this.#asked = Promise.withResolvers<void>()
      this.#ask()
    }
    return this.#asked.promise
  }

  /** Whoever still waits goes on without: the supervisor answers those who came after it. */
  stop(): void {
    this.#listener = () => {}
    this.#silentUntil = Number.POSITIVE_INFINITY
    this.#settle()
  }

  /** A new set came. */
  adopt(keys: readonly Jwk[]): void {
    this.#keys = keys
    this.#silentUntil = 0
    this.#listener(keys)
    this.#attempted.resolve()
  }

  /** The supervisor has tried, or may not: for `cooldown` milliseconds it would not again. */
  answered(cooldown: number): void {
    this.#silentUntil = performance.now() + (Number.isFinite(cooldown) ? cooldown : MAX_SILENCE_MS)
    this.#settle()
  }

  #settle(): void {
    this.#attempted.resolve()
    this.#asked?.resolve()
    this.#asked = null
  }
}
