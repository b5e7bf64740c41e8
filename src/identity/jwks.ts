/**
 * Public keys from a JWKS endpoint (RFC 7517). Fetched in the background and on an unknown `kid`, once for all who
 * wait and never more often than the cooldown; the last good set serves while the endpoint is away.
 */

import type { JWK } from 'jose'
import { importJWK } from 'jose/key/import'

export interface JwksSettings {
  readonly url: string
  /** Seconds between regular fetches. */
  readonly refresh: number
  /** Seconds in which an unknown key does not cause another fetch. */
  readonly cooldown: number
  /** Seconds that a fetch may take. */
  readonly timeout: number
}

export type KeyLookup =
  | { readonly kind: 'key'; readonly key: CryptoKey }
  /** The set is known and has no such key. */
  | { readonly kind: 'unknown' }
  /** No set was ever fetched. */
  | { readonly kind: 'unavailable' }

/** Told what happens; nothing of it reaches clients. */
export interface JwksEvents {
  onFailure(error: unknown): void
  onChange(keys: number): void
}

/** What a key may be used for here. A symmetric key in a public set is a mistake, never a key. */
const KEY_TYPES: Readonly<Record<string, { kty: string; crv?: string }>> = {
  ES256: { kty: 'EC', crv: 'P-256' },
  RS256: { kty: 'RSA' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  Ed25519: { kty: 'OKP', crv: 'Ed25519' },
}

const MAX_BYTES = 1_048_576
const MAX_KEYS = 100
const MAX_BACKOFF_MS = 30_000

interface PublishedKey {
  readonly jwk: JWK
  readonly imported: Map<string, Promise<CryptoKey | null>>
}

export class JwksKeys {
  readonly #settings: JwksSettings
  readonly #events: JwksEvents
  #keys: readonly PublishedKey[] | null = null
  #fingerprint = ''
  #inFlight: Promise<void> | null = null
  #lastAttempt = Number.NEGATIVE_INFINITY
  #failures = 0
  #timer: NodeJS.Timeout | null = null
  #stopped = false

  constructor(settings: JwksSettings, events: JwksEvents) {
    this.#settings = settings
    this.#events = events
  }

  /** A set was fetched at least once. */
  get ready(): boolean {
    return this.#keys !== null
  }

  /** Begins to fetch; resolves after the first attempt, whatever came of it. */
  start(): Promise<void> {
    return this.#refresh()
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  /** The key for a token's header. A missing `kid` is accepted when only one key fits. */
  async find(algorithm: string, kid: string | undefined): Promise<KeyLookup> {
    const known = await this.#lookup(algorithm, kid)
    if (known.kind === 'key') return known
    if (this.#inFlight !== null) await this.#inFlight
    else if (performance.now() - this.#lastAttempt >= this.#cooldownMs()) await this.#refresh()
    else return known
    return this.#lookup(algorithm, kid)
  }

  async #lookup(algorithm: string, kid: string | undefined): Promise<KeyLookup> {
    if (this.#keys === null) return { kind: 'unavailable' }
    const fitting = this.#keys.filter(
      ({ jwk }) => fits(jwk, algorithm) && (kid === undefined || jwk.kid === kid),
    )
    const [first] = fitting
    if (first === undefined || (kid === undefined && fitting.length > 1)) return { kind: 'unknown' }
    const key = await importOnce(first, algorithm)
    return key === null ? { kind: 'unknown' } : { kind: 'key', key }
  }

  /** Without any keys the retry timer has the say, so that requests do not hammer a dead endpoint. */
  #cooldownMs(): number {
    return this.#keys === null ? Number.POSITIVE_INFINITY : this.#settings.cooldown * 1000
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
      this.#events.onFailure(error)
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

  #adopt(keys: JWK[]): void {
    const fingerprint = JSON.stringify(keys)
    if (this.#keys !== null && fingerprint === this.#fingerprint) return
    this.#fingerprint = fingerprint
    this.#keys = keys.map(jwk => ({ jwk, imported: new Map() }))
    this.#events.onChange(keys.length)
  }
}

function fits(jwk: JWK, algorithm: string): boolean {
  const type = KEY_TYPES[algorithm]
  if (type === undefined || jwk.kty !== type.kty || (type.crv !== undefined && jwk.crv !== type.crv))
    return false
  if (jwk.use !== undefined && jwk.use !== 'sig') return false
  if (Array.isArray(jwk.key_ops) && !jwk.key_ops.includes('verify')) return false
  return jwk.alg === undefined || jwk.alg === algorithm || (type.crv === 'Ed25519' && isEdwards(jwk.alg))
}

function isEdwards(algorithm: string): boolean {
  return algorithm === 'EdDSA' || algorithm === 'Ed25519'
}

/** A key that cannot be imported (too short, malformed) is as good as absent. */
function importOnce(key: PublishedKey, algorithm: string): Promise<CryptoKey | null> {
  let imported = key.imported.get(algorithm)
  if (imported === undefined) {
    imported = importJWK({ ...key.jwk, alg: algorithm }, algorithm).then(
      result => (result instanceof Uint8Array ? null : (result as CryptoKey)),
      () => null,
    )
    key.imported.set(algorithm, imported)
  }
  return imported
}

async function fetchKeys(settings: JwksSettings): Promise<JWK[]> {
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

function isUsable(value: unknown): value is JWK {
  if (typeof value !== 'object' || value === null) return false
  return Object.keys(KEY_TYPES).some(algorithm => fits(value as JWK, algorithm))
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
