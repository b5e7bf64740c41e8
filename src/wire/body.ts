/** How body bytes move: one source, one sink, backpressure between them, no stream machinery. */

import type { FieldLines } from './fields.ts'

export interface BodySink {
  /**
   * Takes a chunk, which is the sink's to keep.
   * @returns false when the sink is full: the source then waits until it is resumed
   */
  write(chunk: Buffer): boolean
  /**
   * Nothing that was written is still on its way: whoever lent the memory may use it again. A sink that does not say so
   * keeps every chunk.
   */
  readonly settled?: boolean
  /** The body is whole. */
  end(trailers: FieldLines): void
  /** The body broke off; it must not look whole on the other side. */
  fail(error: Error): void
}

export interface BodySource {
  /** Connects the one sink and starts the flow. */
  pipe(sink: BodySink): void
  pause(): void
  resume(): void
  /** Nobody wants the rest: the source lets go of what feeds it. Neither `end` nor `fail` follows. */
  cancel(): void
}

/** A chunk of its own, of bytes in a buffer that is about to be used again. */
export function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const chunk = Buffer.allocUnsafe(end - start)
  bytes.copy(chunk, 0, start, end)
  return chunk
}

/** Bytes that wait for a sink, in one piece however small the pieces in which they came. */
export class HeldBytes {
  #bytes: Buffer | null = null
  #length = 0

  get length(): number {
    return this.#length
  }

  /** Takes a copy of what stands from `start` to `end`. */
  append(bytes: Buffer, start: number, end: number): void {
    const length = this.#length + end - start
    if (this.#bytes === null) this.#bytes = Buffer.allocUnsafe(length)
    else if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#length)
      this.#bytes = larger
    }
    bytes.copy(this.#bytes, this.#length, start, end)
    this.#length = length
  }

  /** All of them, or null when there are none; nothing waits then. */
  take(): Buffer | null {
    const taken = this.#bytes?.subarray(0, this.#length) ?? null
    this.#bytes = null
    this.#length = 0
    return taken
  }
}
