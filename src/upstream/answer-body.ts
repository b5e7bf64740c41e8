import type { GatewayError } from '../errors.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { copyOf } from '../wire/body.ts'
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
  #held: Buffer[] = []
  #end: End | null = null
  #paused = false

  constructor(connection: Connection, attempt: AttemptListener) {
    this.#connection = connection
    this.#attempt = attempt
  }

  pipe(sink: BodySink): void {
    this.#sink = sink
    const held = this.#held
    this.#held = []
    let flowing = true
    for (const chunk of held) flowing = sink.write(chunk)
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
    this.#held = []
    if (this.#end === null) this.#connection.abandon(this.#attempt)
  }

  /** Passes on what stands from `start` to `end`: as it is, where its memory is lent, else a copy of it. */
  push(bytes: Buffer, start: number, end: number): void {
    if (this.#connection.memory.lends && end - start >= LENT_BYTES)
      return this.#lend(bytes.subarray(start, end))
    const chunk = copyOf(bytes, start, end)
    countBodyBytes(chunk.length)
    if (this.#sink === null) this.#held.push(chunk)
    else if (!this.#sink.write(chunk)) this.pause()
  }

  #lend(chunk: Buffer): void {
    const sink = this.#sink
    if (sink === null) {
      this.#held.push(chunk)
      this.#connection.memory.giveAway()
      return
    }
    if (!sink.write(chunk)) this.pause()
    if (sink.settled !== true) {
      countBodyBytes(chunk.length)
      this.#connection.memory.giveAway()
    }
  }

  end(trailers: FieldLines): void {
    this.#end = { trailers }
    if (this.#sink !== null) this.#finish(this.#sink, this.#end)
  }

  fail(error: GatewayError): void {
    this.#end = { error }
    if (this.#sink !== null) this.#finish(this.#sink, this.#end)
  }

  /** Called when a read has been parsed: no more of it until somebody takes what is held. */
  settle(): void {
    if (this.#sink === null && this.#end === null) this.pause()
  }

  /** Everything, when the answer is already whole and nobody has begun to take it; else null. */
  takeWhole(): Buffer | null {
    if (this.#sink !== null || this.#end === null || 'error' in this.#end || this.#end.trailers.length > 0)
      return null
    const whole = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
    this.#held = []
    return whole
  }

  #finish(sink: BodySink, end: End): void {
    this.#sink = null
    if ('error' in end) sink.fail(end.error)
    else sink.end(end.trailers)
  }
}
