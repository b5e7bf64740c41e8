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
