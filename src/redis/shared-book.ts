/**
 * A book that several gateways have in common: who is blocked, whose tokens are refused. Each keeps all of it by itself and
 * goes on without Redis; of what two say of the same, each gateway makes the same, in whatever order it hears of it. So
 * whatever was missed, lost or said while Redis was away is made good by comparing: what Redis has that is newer is taken
 * in, what it lacks is given to it, be it a Redis that forgot everything.
 *
 * A hash holds what was last said of each, a number beside it counts changes. A change is announced with its number;
 * who misses one sees that in the number, for which all ask every second. An entry is written only in the place of one
 * that the writer has seen: what two write at a time is put together by the second.
 */

import type { Book, Sharing } from '../workers/book.ts'
import { type RedisLink, RedisUnavailable } from './link.ts'
import { Subscription } from './subscription.ts'

/** How the entries of a book lie in Redis. */
export interface EntryForm<Entry> {
  /** Of the book: part of the names of its keys. */
  readonly name: string
  /** Of an entry: the field of the hash. */
  nameOf(entry: Entry): string
  write(entry: Entry): string
  /** @returns null for what no gateway has written, or one of another time */
  read(name: string, text: string): Entry | null
  /** Nothing follows from it any more. */
  isOver(entry: Entry, now: number): boolean
  /** Whether an entry says anything that another one of the same name does not. */
  isNews(entry: Entry, known: Entry): boolean
}

export interface SharedBookEvents {
  /** Entries of others that found no room here. */
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
/** Others who write the same at the same time each take one. */
const MAX_TRIES = 20

/**
 * KEYS: the hash, the number of changes. ARGV: the channel, where the number begins; then for each entry its name, the text
 * in whose place it is written ('': none), its own text, and all of it as it is announced. A number that began at the same
 * place again, after Redis lost everything, could pass for one that was seen.
 *
 * Answers names and texts of those in whose place something else is.
 */
const WRITE = `
local said, others = {}, {}
for i = 3, #ARGV, 4 do
  local there = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if there == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    said[#said + 1] = ARGV[i + 3]
  elseif there ~= ARGV[i + 2] then
    others[#others + 1] = ARGV[i]
    others[#others + 1] = there
  end
end
if #said > 0 then
  redis.call('SET', KEYS[2], ARGV[2], 'NX')
  redis.call('INCR', KEYS[2])
  local number = redis.call('GET', KEYS[2])
  redis.call('PUBLISH', ARGV[1], number .. ' [' .. table.concat(said, ',') .. ']')
end
return others`

/** KEYS: the hash. ARGV: names and texts; each goes unless something else was said meanwhile. */
const FORGET = `
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 0`

/** To be written in the place of a text, or of none. */
interface Writing<Entry> {
  readonly entry: Entry
  readonly there: string
}

export class SharedBook<Entry> implements Sharing<Entry> {
  readonly #link: RedisLink
  readonly #book: Book<Entry>
  readonly #form: EntryForm<Entry>
  readonly #events: SharedBookEvents
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
  /** What is being announced. */
  readonly #underWay = new Set<Promise<void>>()
  #polledAt = 0
  #notBefore = 0
  #refused = false

  constructor(link: RedisLink, book: Book<Entry>, form: EntryForm<Entry>, events: SharedBookEvents) {
    this.#link = link
    this.#book = book
    this.#form = form
    this.#events = events
    // All in one slot of a cluster, or no script could write them together
    const keys = `${link.prefix}{${form.name}}`
    this.#hash = `${keys}:entries`
    this.#number = `${keys}:changes`
    this.#channel = `${keys}:news`
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

  announce(entry: Entry): void {
    // Most are the first of their name
    const written = this.#write([{ entry, there: '' }])
      .catch(error => this.#fail(error))
      .finally(() => this.#underWay.delete(written))
    this.#underWay.add(written)
  }

  forget(entries: readonly Entry[]): void {
    const args = entries.flatMap(entry => [this.#form.nameOf(entry), this.#form.write(entry)])
    // Whoever looks next finds that it is over, and forgets it then
    this.#forget(args).catch(() => {})
  }

  /** What was said last is told before, as far as Redis answers in time. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#underWay)
    this.#subscription.close()
  }

  #hear(text: string): void {
    const space = text.indexOf(' ')
    const number = Number(text.slice(0, space))
    this.#take(this.#newsOf(text.slice(space + 1)))
    if (number === this.#seen + 1) this.#seen = number
  }

  #take(entries: readonly Entry[]): void {
    const lost = this.#book.adopt(entries)
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
      // What is announced from now on follows this one, also where comparing takes its time.
      this.#seen = number
      await this.#compare()
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
    const there = new Map<string, { readonly entry: Entry; readonly text: string }>()
    const over: string[] = []
    const now = Date.now()
    let cursor = '0'
    do {
      const [next, pairs] = await this.#link.run(client =>
        client.hscan(this.#hash, cursor, 'COUNT', READ_AT_A_TIME),
      )
      const entries: Entry[] = []
      for (const [name, text] of inPairs(pairs)) {
        const entry = this.#form.read(name, text)
        // A later version of the gateway may know it
        if (entry === null) continue
        if (this.#form.isOver(entry, now)) over.push(name, text)
        else {
          entries.push(entry)
          there.set(name, { entry, text })
        }
      }
      this.#take(entries)
      cursor = next
    } while (cursor !== '0')
    await this.#forget(over)
    const missing: Writing<Entry>[] = []
    for (const entry of this.#book.entries()) {
      if (this.#form.isOver(entry, now)) continue
      const known = there.get(this.#form.nameOf(entry))
      if (known === undefined) missing.push({ entry, there: '' })
      else if (this.#form.isNews(entry, known.entry)) missing.push({ entry, there: known.text })
    }
    for (let i = 0; i < missing.length; i += WRITTEN_AT_A_TIME) {
      await this.#write(missing.slice(i, i + WRITTEN_AT_A_TIME))
    }
  }

  async #write(writings: readonly Writing<Entry>[]): Promise<void> {
    let left = writings
    for (let tries = 0; left.length > 0; tries++) {
      if (tries === MAX_TRIES) throw new Error('others write the same all the time')
      left = this.#reconcile(left, await this.#tryToWrite(left))
    }
  }

  /** @returns names and texts of those in whose place something else is */
  async #tryToWrite(writings: readonly Writing<Entry>[]): Promise<string[]> {
    const args = writings.flatMap(({ entry, there }) => {
      const name = this.#form.nameOf(entry)
      const text = this.#form.write(entry)
      return [name, there, text, JSON.stringify([name, text])]
    })
    const start = String(Date.now())
    return this.#link.run(
      client =>
        client.eval(WRITE, 2, this.#hash, this.#number, this.#channel, start, ...args) as Promise<string[]>,
    )
  }

  /** What is there is taken in; what is known here beyond it has yet to be written. */
  #reconcile(writings: readonly Writing<Entry>[], others: readonly string[]): Writing<Entry>[] {
    const left: Writing<Entry>[] = []
    for (const [name, there] of inPairs(others)) {
      const { entry } = writings.find(writing => this.#form.nameOf(writing.entry) === name)!
      const known = this.#form.read(name, there)
      if (known === null) left.push({ entry, there })
      else {
        this.#take([known])
        const mine = this.#book.find(entry)
        if (mine !== undefined && this.#form.isNews(mine, known)) left.push({ entry: mine, there })
      }
    }
    return left
  }

  async #forget(args: readonly string[]): Promise<void> {
    for (let i = 0; i < args.length; i += 2 * WRITTEN_AT_A_TIME) {
      const some = args.slice(i, i + 2 * WRITTEN_AT_A_TIME)
      await this.#link.run(client => client.eval(FORGET, 1, this.#hash, ...some) as Promise<unknown>)
    }
  }

  /** What was announced, as far as it can be read: anybody who reaches Redis can publish. */
  #newsOf(json: string): Entry[] {
    try {
      const pairs = JSON.parse(json) as unknown
      if (!Array.isArray(pairs)) return []
      return pairs.flatMap((pair: unknown) => {
        if (!Array.isArray(pair)) return []
        const entry = this.#form.read(String(pair[0]), String(pair[1]))
        return entry === null ? [] : [entry]
      })
    } catch {
      return []
    }
  }
}

function* inPairs(texts: readonly string[]): Generator<readonly [string, string]> {
  for (let i = 0; i < texts.length; i += 2) yield [texts[i]!, texts[i + 1]!]
}
