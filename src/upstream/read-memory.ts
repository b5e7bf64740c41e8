/** Where the reads of a connection land. */

/** Every small read of this thread lands here and is parsed before the next one; what must last is copied out. */
const shared = Buffer.allocUnsafeSlow(65_536)

/** A read of this size in an answer that goes on is one of many. */
export const LARGE_READ_BYTES = 32_768
const OWN_BYTES = 131_072
/** Buffers of large answers that nobody uses at the moment. */
const spare: Buffer[] = []
const MAX_SPARE = 16

/** What can be had of the bytes being parsed besides a copy. */
export interface Lender {
  /** They stand in memory that `giveAway` can part with. */
  readonly lends: boolean
  /** Somebody still needs them: the next read lands elsewhere. */
  giveAway(): void
}

/**
 * Reads of a large answer land in a buffer of their own and are written to the client from there. As a rule the kernel
 * takes them at once, and the buffer serves the next read: neither a copy nor garbage (a third of the cost of 1 MiB).
 */
export class ReadMemory implements Lender {
  /** The next read will be one of many. */
  large = false
  #own: Buffer | null = null
  #current: Buffer | null = null

  /** @returns the buffer for the next read; undefined: the one of the last read again */
  next(): Buffer | undefined {
    let wanted: Buffer = shared
    if (this.large) {
      this.#own ??= spare.pop() ?? Buffer.allocUnsafeSlow(OWN_BYTES)
      wanted = this.#own
    } else if (this.#own !== null) {
      if (spare.length < MAX_SPARE) spare.push(this.#own)
      this.#own = null
    }
    if (wanted === this.#current) return undefined
    this.#current = wanted
    return wanted
  }

  get lends(): boolean {
    return this.#own !== null && this.#current === this.#own
  }

  giveAway(): void {
    this.#own = null
  }
}
