import type { RequestBody } from '../exchange.ts'
import type { BodySink } from '../wire/body.ts'
import { type FieldLines, passableTrailers } from '../wire/fields.ts'
import type { Connection } from './connection.ts'

export interface UploadOptions {
  readonly chunked: boolean
  /** Canonical names of trailers that clients may not send. */
  readonly refusedTrailers: ReadonlySet<string>
  /** Lets go of the connection. */
  readonly abandon: () => void
  /** Told, after that, why the body broke off. */
  readonly onBroken: (error: Error) => void
}

/** The body of a request on its way up: framed again by the gateway, so that what one parser accepted is what goes out. */
export class Upload implements BodySink {
  readonly #connection: Connection
  readonly #body: RequestBody
  readonly #chunked: boolean
  readonly #refusedTrailers: ReadonlySet<string>
  readonly #abandon: () => void
  readonly #onBroken: (error: Error) => void
  #state: 'flowing' | 'whole' | 'stopped' = 'flowing'

  constructor(connection: Connection, body: RequestBody, options: UploadOptions) {
    this.#connection = connection
    this.#body = body
    this.#chunked = options.chunked
    this.#refusedTrailers = options.refusedTrailers
    this.#abandon = options.abandon
    this.#onBroken = options.onBroken
  }

  get whole(): boolean {
    return this.#state === 'whole'
  }

  start(): void {
    this.#body.pipe(this)
  }

  drained(): void {
    if (this.#state === 'flowing') this.#body.resume()
  }

  /** The upstream needs no more of it. */
  stop(): void {
    if (this.#state !== 'flowing') return
    this.#state = 'stopped'
    this.#body.cancel()
  }

  write(chunk: Buffer): boolean {
    if (this.#state !== 'flowing' || chunk.length === 0) return true
    return this.#chunked ? this.#connection.writeChunk(chunk) : this.#connection.write(chunk)
  }

  end(trailers: FieldLines): void {
    if (this.#state !== 'flowing') return
    this.#state = 'whole'
    if (this.#chunked) this.#connection.write(`0\r\n${this.#trailerLines(trailers)}\r\n`)
    this.#connection.finishRequest()
  }

  fail(error: Error): void {
    if (this.#state !== 'flowing') return
    this.#state = 'stopped'
    // Without its last chunk or byte the upstream cannot take the body for whole.
    this.#abandon()
    this.#onBroken(error)
  }

  #trailerLines(trailers: FieldLines): string {
    const passed = passableTrailers(trailers, this.#refusedTrailers)
    let lines = ''
    for (let i = 0; i < passed.length; i += 2) lines += `${passed[i]}: ${passed[i + 1]}\r\n`
    return lines
  }
}
