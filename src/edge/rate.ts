import { now } from '../wire/clock.ts'

/** Counts what a peer may do so often per second and no more. */
export class PerSecond {
  readonly #limit: number
  #since = 0
  #count = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /** One more. @returns whether that is too many */
  exceeded(): boolean {
    const time = now()
    if (time - this.#since > 1000) {
      this.#since = time
      this.#count = 0
    }
    return ++this.#count > this.#limit
  }
}
