/**
 * Tickets that are good once, at any of the gateways that share a Redis. Redis alone decides about them: it has what a ticket
 * stands for, under a name and a key that are both derived from the ticket, so that who reads all of Redis has neither
 * tickets nor tokens. While it is away, tickets are issued that only this process knows and takes, as without Redis; one
 * that was issued before has to wait, since nobody here can tell whether it was used elsewhere.
 */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { SharedCounters } from '../store/shared-counters.ts'
import { type AskedTickets, MAX_PAYLOAD, type Tickets } from '../store/tickets.ts'
import { type RedisLink, RedisUnavailable } from './link.ts'

const SECRET_BYTES = 24
/** A mark that no ticket of one process has, and the secret in base64url: 34 characters without a rest. */
const MARK = 's.'
const TEXT = /^s\.[\w-]{32}$/

const NAME_BYTES = 24
const KEY_BYTES = 32
const PURPOSE = 'nyro-gateway stream ticket'

const CIPHER = 'aes-256-gcm'
/** No key has a second text. */
const NONCE = Buffer.alloc(12)
const TAG_BYTES = 16

/** Of what one process keeps in Redis within the lifetime of its tickets: as much as it has room for in itself. */
const MAX_BYTES = 32 * 1024 ** 2

/** KEYS: the ticket's. Answers what it stands for to the first who asks. GETDEL, for servers before 6.2. */
const TAKE = `
local record = redis.call('GET', KEYS[1])
if record then redis.call('DEL', KEYS[1]) end
return record`

export class SharedTickets implements AskedTickets {
  readonly #link: RedisLink
  readonly #local: Tickets
  readonly #counters: SharedCounters
  readonly #onRefused: (reason: string) => void

  /**
   * @param local for while Redis is away
   * @param counters of this process, where it is counted how much it keeps in Redis
   * @param onRefused Redis is there and will not
   */
  constructor(
    link: RedisLink,
    local: Tickets,
    counters: SharedCounters,
    onRefused: (reason: string) => void,
  ) {
    this.#link = link
    this.#local = local
    this.#counters = counters
    this.#onRefused = onRefused
  }

  issue(payload: string, expiresAt: number, now: number): string | null | Promise<string | null> {
    if (!this.#link.up) return this.#local.issue(payload, expiresAt, now)
    if (payload.length > MAX_PAYLOAD || !this.#hasRoom(payload.length, expiresAt - now, now)) return null
    return this.#issueShared(payload, expiresAt, now)
  }

  redeem(text: string, now: number): string | null | Promise<string | null> {
    return TEXT.test(text) ? this.#take(text) : this.#local.redeem(text, now)
  }

  discard(text: string, now: number): boolean {
    if (!TEXT.test(text)) return this.#local.discard(text, now)
    // Nobody else's parameter looks like that: whether it is live makes no difference to whoever would pass it on.
    void this.#take(text)
    return true
  }

  async #issueShared(payload: string, expiresAt: number, now: number): Promise<string | null> {
    const secret = randomBytes(SECRET_BYTES)
    const { name, key } = derived(secret)
    const record = seal(payload, name, key)
    const lifetime = Math.max(1, Math.ceil(expiresAt - now))
    const answer = await this.#ask(client => client.set(this.#keyOf(name), record, 'PX', lifetime))
    if (answer === 'OK') return MARK + secret.toString('base64url')
    // Redis may have that one all the same: nobody learns its secret.
    return this.#local.issue(payload, expiresAt, Date.now())
  }

  async #take(text: string): Promise<string | null> {
    const { name, key } = derived(Buffer.from(text.slice(MARK.length), 'base64url'))
    const record = await this.#ask(client => client.eval(TAKE, 1, this.#keyOf(name)) as Promise<unknown>)
    return typeof record === 'string' ? open(record, name, key) : null
  }

  /** @returns null as well when Redis is away, or will not */
  async #ask(question: Parameters<RedisLink['run']>[0]): Promise<unknown> {
    try {
      return await this.#link.run(question)
    } catch (error) {
      if (!(error instanceof RedisUnavailable)) this.#onRefused((error as Error).message)
      return null
    }
  }

  #keyOf(name: Buffer): string {
    return `${this.#link.prefix}ticket:${name.toString('base64url')}`
  }

  #hasRoom(bytes: number, lifetime: number, now: number): boolean {
    const window = Math.floor(now / lifetime)
    const key = this.#counters.key(`bytes of tickets|${window}`)
    return this.#counters.take(key, bytes, MAX_BYTES, (window + 1) * lifetime, now) !== false
  }
}

function derived(secret: Buffer): { name: Buffer; key: Buffer } {
  const bytes = Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, NAME_BYTES + KEY_BYTES))
  return { name: bytes.subarray(0, NAME_BYTES), key: bytes.subarray(NAME_BYTES) }
}

/**
 * @param payload Latin-1
 * @returns base64
 */
function seal(payload: string, name: Buffer, key: Buffer): string {
  const cipher = createCipheriv(CIPHER, key, NONCE).setAAD(name)
  const sealed = Buffer.concat([cipher.update(payload, 'latin1'), cipher.final()])
  return Buffer.concat([cipher.getAuthTag(), sealed]).toString('base64')
}

/** @returns null for what no gateway has sealed */
function open(text: string, name: Buffer, key: Buffer): string | null {
  const record = Buffer.from(text, 'base64')
  if (record.length < TAG_BYTES) return null
  const decipher = createDecipheriv(CIPHER, key, NONCE, { authTagLength: TAG_BYTES })
    .setAAD(name)
    .setAuthTag(record.subarray(0, TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(record.subarray(TAG_BYTES)), decipher.final()]).toString('latin1')
  } catch {
    return null
  }
}
