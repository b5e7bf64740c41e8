/**
 * Single-use tickets, seen by all threads as soon as `issue` returns: what one thread gave out, any other takes back,
 * and of several that try only one succeeds.
 *
 * A ticket is 128 random bits and the number of the slot that holds its payload. Payloads are of very different sizes,
 * so there are many *usual* slots and some *large* ones. The buffer is large for what is in use at a time: slots are
 * taken from the front, and the system gives memory only for pages that were written to.
 *
 * One 64-bit word for each slot decides, by compare-and-swap alone: until when the slot is in use (upper half, in ticks;
 * 0: it is free), a generation, and in the lowest bit whether there is a ticket to be redeemed. Without that bit one
 * thread owns the slot for a moment, to write to it or to read and wipe it. Every swap that gives the slot to a thread
 * raises the generation: whoever swaps the word that it saw has seen the ticket of that generation, all of it. Who comes
 * with a wrong ticket only reads.
 *
 * A thread that is terminated while it owns a slot (a few microseconds) leaves it in use until the lease is over. The
 * limit of the proof: a thread would have to sleep for longer than that between two instructions, while others go on.
 */

import { randomFillSync, timingSafeEqual } from 'node:crypto'
import {
  checkBuffer,
  createBuffer,
  HEADER_BYTES,
  HIGH,
  type Layout,
  OWN_HEADER_WORD,
} from './shared-header.ts'

const LAYOUT: Layout = { name: 'tickets', kind: 4, version: 1 }

const USUAL_AT = OWN_HEADER_WORD
const LARGE_AT = OWN_HEADER_WORD + 1
/** In 64-bit words. */
const EPOCH_AT = (OWN_HEADER_WORD + 2) / 2

const SECRET_BYTES = 16
/** The secret and the slot's number, two bytes, in base64url: 24 characters without a rest. */
const TEXT = /^[\w-]{24}$/
const MAX_SLOTS = 2 ** 16

/** In a slot: the secret, the length of the payload, the payload. */
const PAYLOAD_AT = SECRET_BYTES + 4
const USUAL_BYTES = 2_048
/** Characters of the longest payload. */
export const MAX_PAYLOAD = 17_408
const LARGE_BYTES = PAYLOAD_AT + MAX_PAYLOAD

const TICK_MS = 100
const LAST_TICK = 2 ** 31 - 1
const LEASE_TICKS = 3_000

const READY = 1n
const GENERATION = 2n
const TICK_SHIFT = 32n

export interface TicketsOptions {
  /** Slots of 2 KiB, and of 17 KiB; together at most 65,536. */
  readonly usual?: number
  readonly large?: number
  /** The moment from which expiry is counted, in milliseconds since 1970. */
  readonly now?: number
}

/** Who gives out tickets and takes them back. Promises only where somebody beside this process is asked. */
export interface AskedTickets {
  issue(payload: string, expiresAt: number, now: number): string | null | Promise<string | null>
  redeem(text: string, now: number): string | null | Promise<string | null>
  /**
   * Uses up a ticket that went astray.
   *
   * @returns whether the text is one; it may be one that is good no more
   */
  discard(text: string, now: number): boolean
}

export class Tickets implements AskedTickets {
  readonly buffer: SharedArrayBuffer
  readonly #bytes: Buffer
  readonly #words: BigInt64Array
  /** The halves of the words, for a first look. */
  readonly #halves: Int32Array
  readonly #usual: number
  readonly #slots: number
  readonly #usualAt: number
  readonly #largeAt: number
  readonly #epoch: number
  readonly #ticket = Buffer.alloc(SECRET_BYTES + 2)
  readonly #secret = Buffer.alloc(SECRET_BYTES)

  private constructor(buffer: SharedArrayBuffer) {
    const header = new Int32Array(buffer, 0, HEADER_BYTES / 4)
    this.buffer = buffer
    this.#usual = header[USUAL_AT]!
    this.#slots = this.#usual + header[LARGE_AT]!
    this.#bytes = Buffer.from(buffer)
    this.#words = new BigInt64Array(buffer, HEADER_BYTES, this.#slots)
    this.#halves = new Int32Array(buffer, HEADER_BYTES, this.#slots * 2)
    this.#usualAt = HEADER_BYTES + this.#slots * 8
    this.#largeAt = this.#usualAt + this.#usual * USUAL_BYTES
    this.#epoch = Number(new BigInt64Array(buffer, 0, HEADER_BYTES / 8)[EPOCH_AT])
  }

  /** @throws RangeError when there are too many slots, or none */
  static create({ usual = 16_384, large = 1_024, now = Date.now() }: TicketsOptions = {}): Tickets {
    const slots = usual + large
    if (!(usual >= 0 && large >= 0 && slots >= 1 && slots <= MAX_SLOTS))
      throw new RangeError(`there are 1 to ${MAX_SLOTS} slots for tickets`)
    const buffer = createBuffer(LAYOUT, slots * 8 + usual * USUAL_BYTES + large * LARGE_BYTES)
    const header = new Int32Array(buffer, 0, HEADER_BYTES / 4)
    header[USUAL_AT] = usual
    header[LARGE_AT] = large
    new BigInt64Array(buffer, 0, HEADER_BYTES / 8)[EPOCH_AT] = BigInt(Math.floor(now))
    return new Tickets(buffer)
  }

  /**
   * The tickets that another thread created.
   *
   * @throws TypeError when the buffer holds something else
   */
  static attach(buffer: SharedArrayBuffer): Tickets {
    checkBuffer(LAYOUT, buffer)
    return new Tickets(buffer)
  }

  /**
   * @param payload Latin-1
   * @param expiresAt milliseconds since 1970, rounded up to tenths of a second
   * @param now milliseconds since 1970
   * @returns 24 characters that are safe in a URL; null: there is no room, or the payload is longer than `MAX_PAYLOAD`
   */
  issue(payload: string, expiresAt: number, now: number): string | null {
    const tick = this.#tickOf(now)
    const slot = this.#own(payload.length, tick)
    if (slot === null) return null
    const { index, word } = slot
    const at = this.#placeOf(index)
    const ticket = this.#ticket
    randomFillSync(ticket, 0, SECRET_BYTES)
    ticket.writeUInt16BE(index, SECRET_BYTES)
    this.#wipe(at, this.#lengthAt(at, index))
    ticket.copy(this.#bytes, at, 0, SECRET_BYTES)
    this.#bytes.writeInt32LE(payload.length, at + SECRET_BYTES)
    this.#bytes.write(payload, at + PAYLOAD_AT, 'latin1')
    const until = Math.min(LAST_TICK, Math.max(tick + 1, Math.ceil((expiresAt - this.#epoch) / TICK_MS)))
    return this.#swap(index, word, withTick(word, until) | READY) ? ticket.toString('base64url') : null
  }

  /**
   * What a ticket was issued for, to the first who asks.
   *
   * @param text anything
   * @param now milliseconds since 1970
   * @returns null when it is no ticket, or was redeemed, or has expired
   */
  redeem(text: string, now: number): string | null {
    if (!TEXT.test(text)) return null
    const ticket = Buffer.from(text, 'base64url')
    const index = ticket.readUInt16BE(SECRET_BYTES)
    if (index >= this.#slots) return null
    const seen = Atomics.load(this.#words, index)
    if ((seen & READY) === 0n) return null
    const at = this.#placeOf(index)
    // Another thread may be about to take it: if so the swap fails, whatever was compared here.
    this.#bytes.copy(this.#secret, 0, at, at + SECRET_BYTES)
    if (!timingSafeEqual(ticket.subarray(0, SECRET_BYTES), this.#secret)) return null
    const tick = this.#tickOf(now)
    const owned = ownedWord(seen, tick)
    if (!this.#swap(index, seen, owned)) return null
    const length = this.#lengthAt(at, index)
    const payload = this.#bytes.toString('latin1', at + PAYLOAD_AT, at + PAYLOAD_AT + length)
    this.#wipe(at, length)
    return this.#swap(index, owned, withTick(owned, 0)) && tickOf(seen) > tick ? payload : null
  }

  discard(text: string, now: number): boolean {
    return this.redeem(text, now) !== null
  }

  /** Makes this thread the owner of the first slot of a fitting size that is not in use. */
  #own(length: number, tick: number): { index: number; word: bigint } | null {
    if (length > MAX_PAYLOAD) return null
    // What is usual may be kept in a large slot as well
    const first = length <= USUAL_BYTES - PAYLOAD_AT ? 0 : this.#usual
    for (let index = first; index < this.#slots; index++) {
      if (this.#halves[2 * index + HIGH]! > tick) continue
      const seen = Atomics.load(this.#words, index)
      if (tickOf(seen) > tick) continue
      const word = ownedWord(seen, tick)
      if (this.#swap(index, seen, word)) return { index, word }
    }
    return null
  }

  #swap(index: number, seen: bigint, word: bigint): boolean {
    return Atomics.compareExchange(this.#words, index, seen, word) === seen
  }

  #wipe(at: number, length: number): void {
    this.#bytes.fill(0, at, at + PAYLOAD_AT + length)
  }

  /** Of the payload that is in the slot; within the slot, whatever a thread that died left there. */
  #lengthAt(at: number, index: number): number {
    const most = (index < this.#usual ? USUAL_BYTES : LARGE_BYTES) - PAYLOAD_AT
    return Math.min(most, Math.max(0, this.#bytes.readInt32LE(at + SECRET_BYTES)))
  }

  #placeOf(index: number): number {
    return index < this.#usual
      ? this.#usualAt + index * USUAL_BYTES
      : this.#largeAt + (index - this.#usual) * LARGE_BYTES
  }

  #tickOf(now: number): number {
    return Math.min(LAST_TICK - LEASE_TICKS, Math.max(0, Math.floor((now - this.#epoch) / TICK_MS)))
  }
}

const LOWER = 0xffffffffn

function tickOf(word: bigint): number {
  return Number(word >> TICK_SHIFT)
}

function withTick(word: bigint, tick: number): bigint {
  return (BigInt(tick) << TICK_SHIFT) | (word & LOWER)
}

/** What follows `seen` where a thread takes the slot: the next generation, not ready, in use until the lease is over. */
function ownedWord(seen: bigint, tick: number): bigint {
  return withTick((seen & LOWER & ~READY) + GENERATION, tick + LEASE_TICKS)
}
