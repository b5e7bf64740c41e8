/**
 * Blocks that several gateways have in common. Each keeps all of them by itself and goes on without Redis; of what two say
 * of the same, the later counts. So whatever was missed, lost or said while Redis was away is made good by comparing:
 * what Redis has that is newer is taken in, what it lacks is given to it, be it a Redis that forgot everything.
 *
 * A hash holds what was last said of each, a number beside it counts changes. A change is announced with its number;
 * who misses one sees that in the number, for which all ask every second.
 */

import { keyOf, type Ruling } from '../store/block.ts'
import { isOver } from '../workers/blocking.ts'
import { type RedisLink, RedisUnavailable } from './link.ts'
import { readRuling, writeRuling } from './ruling-text.ts'
import { Subscription } from './subscription.ts'

/** The book of this gateway. */
export interface SharedBook {
  rulings(): Iterable<Ruling>
  adopt(rulings: readonly Ruling[]): number
}

export interface SharedBlocksEvents {
  /** Blocks of others that found no room here. */
  onLost(count: number): void
  /** Redis is there and will not: a right that this user lacks, a key that is something else. Told once, until it does. */
  onRefused(reason: string): void
}

/** Between two looks whether there is anything to do: no question to Redis. */
const TICK_MS = 100
/** Between two questions for the number of changes. */
const POLL_MS = 1_000
/** Behind a failure. */
const RETRY_MS = 250
/** No call may take long, for Redis or for whoever else uses the link. */
const READ_AT_A_TIME = 500
const WRITTEN_AT_A_TIME = 100

/**
 * KEYS: the hash, the number of changes. ARGV: the channel, where the number begins; then for each ruling its name, its
 * moment, its text, and all of it as it is announced. A number that began at the same place again, after Redis lost
 * everything, could pass for one that was seen.
 */
const WRITE = `
local said = {}
for i = 3, #ARGV, 4 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  local at = old and tonumber(string.match(old, '^%d+')) or -1
  if at < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    said[#said + 1] = ARGV[i + 3]
  end
end
if #said == 0 then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'NX')
redis.call('INCR', KEYS[2])
local number = redis.call('GET', KEYS[2])
redis.call('PUBLISH', ARGV[1], number .. ' [' .. table.concat(said, ',') .. ']')
return #said`

/** KEYS: the hash. ARGV: names and texts; each goes unless something else was said meanwhile. */
const FORGET = `
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 0`

export class SharedBlocks {
  readonly #link: RedisLink
  readonly #book: SharedBook
  readonly #events: SharedBlocksEvents
  readonly #hash: string
  readonly #number: string
  readonly #channel: string
  readonly #subscription: Subscription
  readonly #timer: NodeJS.Timeout
  readonly #known = Promise.withResolvers<void>()
  /** The last number up to which nothing was missed. */
  #seen = -1
  /** What is here and what is there has to be compared. */
  #differs = true
  #busy = false
  #polledAt = 0
  #notBefore = 0
  #refused = false

  constructor(link: RedisLink, book: SharedBook, events: SharedBlocksEvents) {
    this.#link = link
    this.#book = book
    this.#events = events
    // All in one slot of a cluster, or no script could write them together
    this.#hash = `${link.prefix}{blocks}:rulings`
    this.#number = `${link.prefix}{blocks}:changes`
    this.#channel = `${link.prefix}{blocks}:news`
    this.#subscription = new Subscription(
      link.client,
      [this.#channel],
      (_, text) => this.#hear(text),
      () => {
        this.#differs = true
      },
    )
    this.#timer = setInterval(() => void this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  /** Resolves when what Redis has was taken in for the first time. */
  get known(): Promise<void> {
    return this.#known.promise
  }

  announce(ruling: Ruling): void {
    this.#write([ruling]).catch(error => this.#fail(error))
  }

  forget(rulings: readonly Ruling[]): void {
    const args = rulings.flatMap(ruling => [keyOf(ruling), writeRuling(ruling)])
    // Whoever looks next finds that it is over, and forgets it then
    this.#forget(args).catch(() => {})
  }

  close(): void {
    clearInterval(this.#timer)
    this.#subscription.close()
  }

  #hear(text: string): void {
    const space = text.indexOf(' ')
    const number = Number(text.slice(0, space))
    this.#take(newsOf(text.slice(space + 1)))
    if (number === this.#seen + 1) this.#seen = number
  }

  #take(rulings: readonly Ruling[]): void {
    const lost = this.#book.adopt(rulings)
    if (lost > 0) this.#events.onLost(lost)
  }

  async #tick(): Promise<void> {
    const now = performance.now()
    if (this.#busy || !this.#link.up || now < this.#notBefore) return
    if (!this.#differs && now < this.#polledAt + POLL_MS) return
    this.#busy = true
    this.#polledAt = now
    try {
      // Before the entries: what changes meanwhile makes another number.
      const changes = await this.#link.run(client => client.get(this.#number))
      // None at all: nobody has said anything yet, or Redis has lost it
      const number = changes === null ? -1 : Number(changes)
      if (!this.#differs && number !== -1 && number === this.#seen) return
      this.#differs = false
      await this.#compare()
      this.#seen = number
      this.#known.resolve()
      this.#refused = false
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#busy = false
    }
  }

  /** All is compared again, which also writes what could not be written. */
  #fail(error: unknown): void {
    this.#differs = true
    this.#notBefore = performance.now() + RETRY_MS
    // Of a Redis that is away the link tells
    if (error instanceof RedisUnavailable || this.#refused) return
    this.#refused = true
    this.#events.onRefused((error as Error).message)
  }

  async #compare(): Promise<void> {
    const there = new Map<string, number>()
    const over: string[] = []
    const now = Date.now()
    let cursor = '0'
    do {
      const [next, entries] = await this.#link.run(client =>
        client.hscan(this.#hash, cursor, 'COUNT', READ_AT_A_TIME),
      )
      const rulings: Ruling[] = []
      for (let i = 0; i < entries.length; i += 2) {
        const ruling = readRuling(entries[i]!, entries[i + 1]!)
        // A later version of the gateway may know it
        if (ruling === null) continue
        if (isOver(ruling, now)) over.push(entries[i]!, entries[i + 1]!)
        else {
          rulings.push(ruling)
          there.set(entries[i]!, ruling.at)
        }
      }
      this.#take(rulings)
      cursor = next
    } while (cursor !== '0')
    await this.#forget(over)
    const missing = [...this.#book.rulings()].filter(
      ruling => (there.get(keyOf(ruling)) ?? -1) < ruling.at && !isOver(ruling, now),
    )
    for (let i = 0; i < missing.length; i += WRITTEN_AT_A_TIME) {
      await this.#write(missing.slice(i, i + WRITTEN_AT_A_TIME))
    }
  }

  async #write(rulings: readonly Ruling[]): Promise<void> {
    const args = rulings.flatMap(ruling => {
      const name = keyOf(ruling)
      const text = writeRuling(ruling)
      return [name, String(ruling.at), text, JSON.stringify([name, text])]
    })
    await this.#link.run(
      client =>
        client.eval(
          WRITE,
          2,
          this.#hash,
          this.#number,
          this.#channel,
          String(Date.now()),
          ...args,
        ) as Promise<unknown>,
    )
  }

  async #forget(args: readonly string[]): Promise<void> {
    for (let i = 0; i < args.length; i += 2 * WRITTEN_AT_A_TIME) {
      const some = args.slice(i, i + 2 * WRITTEN_AT_A_TIME)
      await this.#link.run(client => client.eval(FORGET, 1, this.#hash, ...some) as Promise<unknown>)
    }
  }
}

/** What was announced, as far as it can be read: anybody who reaches Redis can publish. */
function newsOf(json: string): Ruling[] {
  try {
    const pairs = JSON.parse(json) as unknown
    if (!Array.isArray(pairs)) return []
    return pairs.flatMap((pair: unknown) => {
      if (!Array.isArray(pair)) return []
      const ruling = readRuling(String(pair[0]), String(pair[1]))
      return ruling === null ? [] : [ruling]
    })
  } catch {
    return []
  }
}
