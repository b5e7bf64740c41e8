/**
 * Where public keys come from. One fetcher serves a whole process: in the thread that owns it this is `JwksFetcher`,
 * in every other thread it is a stand-in that speaks to that one. `JwksKeys` does not know which it has.
 */

/** A JSON Web Key as it was published: plain JSON, so that it may go from thread to thread. */
export type Jwk = Readonly<Record<string, unknown>>

export interface KeySource {
  /**
   * Begins; called once. `listener` is called with the first set, then with each set that differs from the one before.
   * @returns resolves when the first attempt is over, whatever came of it; never rejects
   */
  start(listener: (keys: readonly Jwk[]) => void): Promise<void>
  /**
   * A token named a key that the last set does not have. Everyone who asks while a fetch is under way waits for that
   * one. Must be cheap: in a flood of unknown keys each token asks.
   * @returns resolves once a fetch was tried, after `listener` was called if it brought a new set; never rejects.
   * Null when asking again would not help: it was asked within the cooldown, or no set was ever fetched and retries
   * are under way already.
   */
  wanted(): Promise<void> | null
  /** No further fetches. */
  stop(): void
}
