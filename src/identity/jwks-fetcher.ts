/**
 * Fetches a key set from a JWKS endpoint (RFC 7517): in the background, and when an unknown key is wanted, once for
 * all who wait and never more often than the cooldown.
 */

import { isUsable } from './jwk.ts'
import type { Jwk, KeySource } from './key-source.ts'

export interface JwksSettings {
  readonly url: string
  /** Seconds between regular fetches. */
  readonly refresh: number
  /** Seconds in which an unknown key does not cause another fetch. */
  readonly cooldown: number
  /** Seconds that a fetch may take. */
  readonly timeout: number
}

const MAX_BYTES = 1_048_576
const MAX_KEYS = 100
const MAX_BACKOFF_MS = 30_000

export class JwksFetcher implements KeySource {
  readonly #settings: JwksSettings
  readonly #onFailure: (error: unknown) => void
  #listener: (keys: readonly Jwk[]) => void = () => {}
  /** The last set as text; null until there was one. */
  #fingerprint: string | null = null
  #inFlight: Promise<void> | null = null
  #lastAttempt = Number.NEGATIVE_INFINITY
  #failures = 0
  #timer: NodeJS.Timeout | null = null
  #stopped = false

  /** @param onFailure told of every fetch that failed; nothing of it reaches clients */
  constructor(settings: JwksSettings, onFailure: (error: unknown) => void) {
    this.#settings = settings
    this.#onFailure = onFailure
  }

  start(listener: (keys: readonly Jwk[]) => void): Promise<void> {
    this.#listener = listener
    return this.#refresh()
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  wanted(): Promise<void> | null {
    if (this.#inFlight !== null) return this.#inFlight
    return this.cooldownLeft > 0 ? null : this.#refresh()
  }

  /**
   * Milliseconds in which `wanted` gives null. Without any keys the retry timer has the say, so that requests do not
   * hammer a dead endpoint: infinite.
   */
  get cooldownLeft(): number {
    if (this.#fingerprint === null) return Number.POSITIVE_INFINITY
    return Math.max(0, this.#lastAttempt + this.#settings.cooldown * 1000 - performance.now())
  }

  #refresh(): Promise<void> {
    this.#inFlight ??= this.#attempt().finally(() => {
      this.#inFlight = null
    })
    return this.#inFlight
  }

  async #attempt(): Promise<void> {
    this.#lastAttempt = performance.now()
    try {
      this.#adopt(await fetchKeys(this.#settings))
      this.#failures = 0
    } catch (error) {
      this.#failures++
      this.#onFailure(error)
    }
    this.#schedule()
  }

  #schedule(): void {
    if (this.#stopped) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    const backoff = Math.min(MAX_BACKOFF_MS, 1000 * 2 ** Math.min(10, this.#failures - 1))
    const delay = this.#failures === 0 ? this.#settings.refresh * 1000 : backoff
    this.#timer = setTimeout(() => void this.#refresh(), delay)
    this.#timer.unref()
  }

  #adopt(keys: Jwk[]): void {
    const fingerprint = JSON.stringify(keys)
    if (fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    this.#listener(keys)
  }
}

async function fetchKeys(settings: JwksSettings): Promise<Jwk[]> {
  const response = await fetch(settings.url, {
    redirect: 'error',
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(settings.timeout * 1000),
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new Error(`the JWKS endpoint answered ${response.status}`)
  }
  const document: unknown = JSON.parse(await boundedText(response))
  const keys = (document as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw new Error('the JWKS document has no list of keys')
  const usable = keys.filter(isUsable).slice(0, MAX_KEYS)
  // A set with nothing to verify with is a fault of the endpoint's; the last good one is better than none.
  if (usable.length === 0) throw new Error('the JWKS document has no usable key')
  return usable
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > MAX_BYTES) throw new Error('the JWKS document is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
