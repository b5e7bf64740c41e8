import type { GatewayError } from '../errors.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { countBodyBytes } from '../wire/body-garbage.ts'
import type { FieldLines } from '../wire/fields.ts'
import type { Http2Call } from './http2-call.ts'

type End = { readonly trailers: FieldLines } | { readonly error: GatewayError }

/** The body of an answer over HTTP/2, from its call to whoever it is piped to. */
export class Http2AnswerBody implements BodySource {
  readonly #call: Http2Call
  #sink: BodySink | null = null
  /** What came before there was a sink; null: nothing flows yet. */
  #gathered: Buffer[] | null = null
  #end: End | null = null
  #paused = false

  constructor(call: Http2Call) {
    this.#call = call
  }

  /** Takes in what comes, for a body that may soon be whole. No more than the upstream may send ahead. */
  gather(): void {
    this.#gathered = []
    this.#call.flow()
  }

  /** Everything, when it has been gathered whole and there are no trailers; else null. */
  takeWhole(): Buffer | null {
    const chunks = this.#gathered
    if (chunks === null || this.#end === null || 'error' in this.#end || this.#end.trailers.length > 0)
      return null
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
  }

  pipe(sink: BodySink): void {
    this.#sink = sink
    const gathered = this.#gathered
    if (gathered === null && this.#end === null) return this.#call.flow()
    this.#gathered = null
    let flowing = true
    for (const chunk of gathered ?? []) flowing = sink.write(chunk)
    if (this.#end !== null) this.#finish(sink, this.#end)
    else if (flowing) this.resume()
    else this.pause()
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#call.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#end === null) this.#call.resume()
  }

  cancel(): void {
    this.#sink = null
    this.#gathered = null
    if (this.#end === null) this.#call.cancel()
  }

  push(chunk: Buffer): void {
    countBodyBytes(chunk.length)
    if (this.#sink === null) this.#gathered?.push(chunk)
    else if (!this.#sink.write(chunk)) this.pause()
  }

  end(trailers: FieldLines): void {
    this.#settle({ trailers })
  }

  fail(error: GatewayError): void {
    this.#settle({ error })
  }

  #settle(end: End): void {
    this.#end ??= end
    if (this.#sink !== null) this.#finish(this.#sink, this.#end)
  }

  #finish(sink: BodySink, end: End): void {
    this.#sink = null
    if ('error' in end) sink.fail(end.error)
    else sink.end(end.trailers)
  }
}
