/** Results kept for one subject: as many as there are askers that come by in turn, such as routes. */
const MAX_KEPT = 8

/**
 * What was made of something that never changes, worked out once. Peers send the same header section again and again,
 * and parsers give the same object for it then: asking for what is known costs a hundredth of asking each field.
 */
export class Derived<S> {
  readonly #subject: S
  #kept: Map<object, unknown> | null = null

  constructor(subject: S) {
    this.#subject = subject
  }

  /** @param key the one who asks, always with the same work, which must depend on nothing but the subject and the key */
  get<T>(key: object, work: (subject: S) => T): T {
    const known = this.#kept?.get(key) as T | undefined
    if (known !== undefined) return known
    const result = work(this.#subject)
    if (this.#kept === null || this.#kept.size >= MAX_KEPT) this.#kept = new Map()
    this.#kept.set(key, result)
    return result
  }
}
