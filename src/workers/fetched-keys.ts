/** The keys that the supervisor fetches, once for all workers. */

import { JwksFetcher, type JwksSettings } from '../identity/jwks-fetcher.ts'
import type { Jwk } from '../identity/key-source.ts'

export class FetchedKeys {
  /** The last set, if there was one yet. */
  keys: readonly Jwk[] | null = null
  readonly #fetcher: JwksFetcher

  constructor(settings: JwksSettings, onFailure: (error: unknown) => void) {
    this.#fetcher = new JwksFetcher(settings, onFailure)
  }

  /**
   * @param onKeys told of every new set
   * @returns resolves after the first attempt, whatever came of it
   */
  start(onKeys: (keys: readonly Jwk[]) => void): Promise<void> {
    return this.#fetcher.start(keys => {
      this.keys = keys
      onKeys(keys)
    })
  }

  /** Resolves once a fetch was tried, or need not be. */
  async wanted(): Promise<void> {
    await this.#fetcher.wanted()
  }

  /** Milliseconds in which asking again would not help. */
  get cooldown(): number {
    return this.#fetcher.cooldownLeft
  }

  stop(): void {
    this.#fetcher.stop()
  }
}
