/**
 * What a request costs, in the units of its service: the route's weight, or what the service reports in a field of its
 * answer or in the last event of a stream (the tokens of a language model, say).
 */

import type { CostConfig } from '../config/limits.ts'
import type { Exchange, Policy, Reply } from '../exchange.ts'
import { claimAt } from '../identity/claims.ts'
import type { BodySink, BodySource } from '../wire/body.ts'
import { isEventStream, LastEvent } from '../wire/event-stream.ts'
import { type FieldLines, findField, removeField } from '../wire/fields.ts'

/** No service bills more for one request; what is beyond it is a mistake. */
const MOST = 1e12

export function cost({ weight, header: name, event }: CostConfig): Policy {
  const path = event?.split('.')
  const header = name?.toLowerCase()
  const reads = header !== undefined || path !== undefined

  return function cost(exchange, next) {
    exchange.cost = weight
    exchange.estimatedCost = weight
    if (!reads) return next(exchange)
    const reply = next(exchange)
    return reply instanceof Promise ? reply.then(late => read(exchange, late)) : read(exchange, reply)
  }

  function read(exchange: Exchange, reply: Reply): Reply {
    if (header !== undefined) {
      report(exchange, findField(reply.headers, header))
      removeField(reply.headers, header)
    }
    if (path === undefined || !readable(reply)) return reply
    const { body } = reply
    if (body === null || typeof body === 'string' || Buffer.isBuffer(body)) {
      const last = new LastEvent()
      if (body !== null) last.follow(Buffer.from(body))
      report(exchange, numberIn(last.take(), path))
    } else reply.body = new CostReader(body, data => report(exchange, numberIn(data, path)))
    return reply
  }
}

function readable({ headers }: Reply): boolean {
  const coding = findField(headers, 'content-encoding')
  return isEventStream(findField(headers, 'content-type')) && (coding === undefined || coding === 'identity')
}

/** What is no such number changes nothing: then the weight counts. */
function report(exchange: Exchange, said: unknown): void {
  const value = typeof said === 'string' && /^\d+(\.\d+)?$/.test(said) ? Number(said) : said
  if (typeof value === 'number' && value >= 0 && value <= MOST) exchange.cost = value
}

function numberIn(data: string, path: readonly string[]): unknown {
  try {
    return claimAt(JSON.parse(data) as Record<string, unknown>, path)
  } catch {
    return undefined
  }
}

/** A body on its way, untouched, of which the last event is remembered. */
class CostReader implements BodySource, BodySink {
  readonly #source: BodySource
  readonly #last = new LastEvent()
  readonly #onData: (data: string) => void
  #sink: BodySink | null = null

  constructor(source: BodySource, onData: (data: string) => void) {
    this.#source = source
    this.#onData = onData
  }

  pipe(sink: BodySink): void {
    this.#sink = sink
    this.#source.pipe(this)
  }

  pause(): void {
    this.#source.pause()
  }

  resume(): void {
    this.#source.resume()
  }

  /** What was reported before the client left counts as well. */
  cancel(): void {
    this.#tell()
    this.#source.cancel()
  }

  write(chunk: Buffer): boolean {
    this.#last.follow(chunk)
    return this.#sink!.write(chunk)
  }

  get settled(): boolean {
    return this.#sink?.settled ?? false
  }

  end(trailers: FieldLines): void {
    this.#tell()
    this.#sink!.end(trailers)
  }

  fail(error: Error): void {
    this.#tell()
    this.#sink!.fail(error)
  }

  #tell(): void {
    this.#onData(this.#last.take())
  }
}
