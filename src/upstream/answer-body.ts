import type { GatewayError } from '../errors.ts'
import { type BodySink, type BodySource, copyOf, HeldBytes } from '../wire/body.ts'
import { countBodyBytes } from '../wire/body-garbage.ts'
import type { FieldLines } from '../wire/fields.ts'
import type { AttemptListener, Connection } from './connection.ts'

/** Smaller pieces are copied, so that they do not keep the whole buffer. */
const LENT_BYTES = 16_384

type End = { readonly trailers: FieldLines } | { readonly error: GatewayError }

/** The body of an upstream's answer, from its connection to whoever it is piped to. */
export class AnswerBody implements BodySource {
  readonly #connection: Connection
  readonly #attempt: AttemptListener
  #sink: BodySink | null = null
  /** What came before there was a sink. At most one read's worth: the connection is paused then. */
  readonly #held = new HeldBytes()
  #end: End | null = null
  #paused = false

  constructor(connection: Connection, attempt: AttemptListener) {
    this.#connection = connection
    this.#attempt = attempt
  }

  pipe(sink: BodySink): void {
    this.#sink = sink
    const held = this.#held.take()
    const flowing = held === null || sink.write(held)
    if (this.#end !== null) return this.#finish(sink, this.#end)
    if (flowing) this.resume()
    else this.pause()
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#connection.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#end === null) this.#connection.resume()
  }

  cancel(): void {
    this.#sink = null
    this.#held.take()
    if (this.#end === null) this.#connection.abandon(this.#attempt)
  }

  /** Passes on what stands from `start` to `end`: as it is, where its memory is lent, else a copy of it. */
  push(bytes: Buffer, start: number, end: number): void {
    const sink = this.#sink
    const { memory } = this.#connection
    if (sink === null) {
      countBodyBytes(end - start)
      this.#held.append(bytes, start, end)
    } else if (memory.lends && end - start >= LENT_BYTES) this.#lend(sink, bytes.subarray(start, end))
    else {
      countBodyBytes(end - start)
      if (!sink.write(copyOf(bytes, start, end))) this.pause()
    }
  }

  #lend(sink: BodySink, chunk: Buffer): void {
    if (!sink.write(chunk)) this.pause()
    if (sink.settled === true) return
    countBodyBytes(chunk.length)
    this.#connection.memory.giveAway()
  }

  end(trailers: FieldLines): void {
    this.#end = { trailers }
    if (this.#sink !== null) this.#finish(this.#sink, this.#end)
  }

  fail(error: GatewayError): void {
    this.#end = { error }
    if (this.#sink !== null) this.#finish(this.#sink, this.#end)
  }

  /**
   * Called when a read has been parsed: no more of it until somebody takes what is held. As a rule that happens in this
   * very turn of the loop, so behind a small read nothing is stopped before it ends.
   */
  settle(): void {
    if (this.#sink !== null || this.#end !== null) return
    if (this.#held.length > LENT_BYTES) this.pause()
    else setImmediate(() => this.#sink === null && this.#end === null && this.pause())
  }

  /** Everything, when the answer is already whole and nobody has begun to take it; else null. */
  takeWhole(): Buffer | null {
    if (this.#sink !== null || this.#end === null || 'error' in this.#end || this.#end.trailers.length > 0)
      return null
    return this.#held.take() ?? EMPTY
  }

  #finish(sink: BodySink, end: End): void {
    this.#sink = null
    if ('error' in end) sink.fail(end.error)
    else sink.end(end.trailers)
  }
}

const EMPTY = Buffer.alloc(0)
