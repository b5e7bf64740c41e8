import type { IncomingMessage } from 'node:http'
import { GatewayError } from '../errors.ts'
import type { RequestBody } from '../exchange.ts'
import type { BodySink } from '../wire/body.ts'
import { countBodyBytes } from '../wire/body-garbage.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'

/** Seconds before the average rate counts: connections start slowly. */
const RATE_GRACE = 10

export interface BodyPace {
  /** Longest pause, seconds. */
  readonly idle: number
  /** Bytes/s on average; 0: any. */
  readonly minRate: number
}

/** A request body as `node:http` delivers it, kept to its limit and pace. */
export class IncomingBody implements RequestBody, Expiring {
  deadline = 0
  received = 0
  readonly #message: IncomingMessage
  readonly #pace: BodyPace
  #limit = Number.POSITIVE_INFINITY
  #sink: BodySink | null = null
  #broken: GatewayError | null = null
  #heldBack: boolean
  /** When the flow began, and how long it was held up by whoever takes it. */
  #startedAt = 0
  #pausedAt = 0
  #pausedFor = 0

  /** @param heldBack the client waits for `100 Continue`: until then its time does not run */
  constructor(message: IncomingMessage, pace: BodyPace, heldBack: boolean) {
    this.#message = message
    this.#pace = pace
    this.#heldBack = heldBack
  }

  limit(bytes: number): void {
    this.#limit = Math.min(this.#limit, bytes)
  }

  pipe(sink: BodySink): void {
    if (this.#broken !== null) return sink.fail(this.#broken)
    this.#sink = sink
    this.#startedAt = performance.now()
    this.deadline = this.#heldBack ? 0 : deadlineIn(this.#pace.idle)
    watchDeadline(this)
    this.#message.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#message.on('end', () => this.#onEnd())
  }

  pause(): void {
    if (this.#pausedAt !== 0) return
    this.#pausedAt = performance.now()
    this.deadline = 0
    this.#message.pause()
  }

  resume(): void {
    if (this.#pausedAt === 0) return
    this.#pausedFor += performance.now() - this.#pausedAt
    this.#pausedAt = 0
    this.deadline = deadlineIn(this.#pace.idle)
    this.#message.resume()
  }

  invited(): void {
    this.#heldBack = false
    this.#startedAt = performance.now()
    if (this.#sink !== null && this.#pausedAt === 0) this.deadline = deadlineIn(this.#pace.idle)
  }

  cancel(): void {
    if (this.#sink === null) return
    this.#sink = null
    this.deadline = 0
    unwatchDeadline(this)
    this.#message.pause()
  }

  break(error: GatewayError): void {
    this.#broken = error
    const sink = this.#sink
    this.cancel()
    sink?.fail(error)
  }

  expire(): void {
    this.break(new GatewayError('request_timeout'))
  }

  #onData(chunk: Buffer): void {
    if (this.#sink === null) return
    if (this.#heldBack) this.invited()
    this.received += chunk.length
    countBodyBytes(chunk.length)
    if (this.received > this.#limit) return this.break(new GatewayError('body_too_large'))
    if (this.#tooSlow()) return this.expire()
    this.deadline = deadlineIn(this.#pace.idle)
    if (!this.#sink.write(chunk)) this.pause()
  }

  #onEnd(): void {
    const sink = this.#sink
    this.cancel()
    sink?.end(this.#message.rawTrailers)
  }

  #tooSlow(): boolean {
    const seconds = (performance.now() - this.#startedAt - this.#pausedFor) / 1000
    return seconds > RATE_GRACE && this.received < this.#pace.minRate * seconds
  }
}
