import { randomBytes } from 'node:crypto'

const most = 10_000

/** Values that wait under a name nobody can guess, and are taken once: codes, states, links in e-mails. */
export class OneTime<V> {
  readonly #waiting = new Map<string, { value: V; until: number }>()
  readonly #lifetime: number

  /** @param lifetime seconds */
  constructor(lifetime: number) {
    this.#lifetime = lifetime * 1_000
  }

  put(value: V): string {
    const name = randomBytes(16).toString('base64url')
    this.#waiting.set(name, { value, until: Date.now() + this.#lifetime })
    if (this.#waiting.size > most) {
      const oldest = this.#waiting.keys().next()
      if (!oldest.done) this.#waiting.delete(oldest.value)
    }
    return name
  }

  /** Undefined when there never was one, it was taken, or its time is up. */
  take(name: string | null): V | undefined {
    if (name === null) return undefined
    const found = this.#waiting.get(name)
    this.#waiting.delete(name)
    return found !== undefined && found.until > Date.now() ? found.value : undefined
  }
}
