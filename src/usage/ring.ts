/**
 * What a worker has counted, on its way to the thread that writes it down: a ring in memory that outlives the worker.
 *
 * One thread writes, one reads. A record is eight floats, seen by the reader all at once when the head has moved behind
 * it; so a worker may die at any point and leaves whole records or none. Texts do not fit into that: an account is
 * announced once by its key, which takes as many records as it needs, and has a number from then on.
 */

import {
  checkBuffer,
  createBuffer,
  HEADER_BYTES,
  type Layout,
  OWN_HEADER_WORD,
} from '../store/shared-header.ts'
import { Account, type UsageSink } from './account.ts'

const LAYOUT: Layout = { name: 'usage ring', kind: 5, version: 1 }

const FLOATS = 8
const RECORD_BYTES = FLOATS * 8

/** How many records the worker has written since ever, modulo 2^32. */
const HEAD_AT = OWN_HEADER_WORD
/** How many have been read; in the other cache line. */
const TAIL_AT = 16

/** 1 MiB, for a worker that ends 160,000 exchanges in a second and a reader that comes every 100 ms. */
const RECORDS = 16_384
/** Then the numbering starts anew, and the reader forgets the old ones. */
const MAX_ACCOUNTS = 65_536
const FIRST_ACCOUNT = 0

/** @param records a power of two */
export function createRing(records: number = RECORDS): SharedArrayBuffer {
  if (records < 2 || (records & (records - 1)) !== 0) throw new RangeError('a ring has 2, 4, 8, … records')
  return createBuffer(LAYOUT, records * RECORD_BYTES)
}

/** The memory of a ring, seen from either end. */
class Ring {
  readonly words: Int32Array
  readonly floats: Float64Array
  readonly bytes: Buffer
  readonly records: number
  readonly mask: number

  constructor(buffer: SharedArrayBuffer) {
    checkBuffer(LAYOUT, buffer)
    this.words = new Int32Array(buffer, 0, HEADER_BYTES / 4)
    this.floats = new Float64Array(buffer, HEADER_BYTES)
    this.bytes = Buffer.from(buffer, HEADER_BYTES)
    this.records = this.bytes.length / RECORD_BYTES
    this.mask = this.records - 1
  }
}

/** The worker's end. */
export class RingWriter {
  readonly #ring: Ring
  readonly #words: Int32Array
  readonly #floats: Float64Array
  readonly #mask: number
  readonly #records: number
  #head: number
  /** Where the reader was when it was last looked at: it may be further by now. */
  #tail: number
  #epoch = 0
  #nextId = FIRST_ACCOUNT

  /**
   * Goes on where the worker before it has stopped.
   * @throws TypeError when the buffer holds something else
   */
  constructor(buffer: SharedArrayBuffer) {
    const ring = new Ring(buffer)
    this.#ring = ring
    this.#words = ring.words
    this.#floats = ring.floats
    this.#mask = ring.mask
    this.#records = ring.records
    this.#head = Atomics.load(ring.words, HEAD_AT)
    this.#tail = Atomics.load(ring.words, TAIL_AT)
  }

  /** @returns false where there is no room now: nothing was written then */
  push(
    account: Account,
    requests: number,
    errors: number,
    refused: number,
    bytesIn: number,
    bytesOut: number,
    cost: number,
    upstreamSeconds: number,
  ): boolean {
    if (account.ringEpoch !== this.#epoch && !this.#announce(account)) return false
    if (!this.#hasRoom(1)) return false
    const floats = this.#floats
    const at = (this.#head & this.#mask) * FLOATS
    floats[at] = account.ringId
    floats[at + 1] = requests
    floats[at + 2] = errors
    floats[at + 3] = refused
    floats[at + 4] = bytesIn
    floats[at + 5] = bytesOut
    floats[at + 6] = cost
    floats[at + 7] = upstreamSeconds
    this.#publish(1)
    return true
  }

  #hasRoom(records: number): boolean {
    if (((this.#head - this.#tail) | 0) + records <= this.#records) return true
    this.#tail = Atomics.load(this.#words, TAIL_AT)
    return ((this.#head - this.#tail) | 0) + records <= this.#records
  }

  #publish(records: number): void {
    this.#head = (this.#head + records) | 0
    Atomics.store(this.#words, HEAD_AT, this.#head)
  }

  #announce(account: Account): boolean {
    const key = Buffer.from(account.key)
    const parts = Math.ceil(key.length / RECORD_BYTES)
    if (!this.#hasRoom(parts + 1)) return false
    if (this.#nextId === MAX_ACCOUNTS) {
      this.#nextId = FIRST_ACCOUNT
      this.#epoch++
    }
    account.ringId = this.#nextId++
    account.ringEpoch = this.#epoch
    const at = (this.#head & this.#mask) * FLOATS
    this.#floats[at] = -1 - account.ringId
    this.#floats[at + 1] = key.length
    for (let part = 0; part < parts; part++) {
      const place = ((this.#head + 1 + part) & this.#mask) * RECORD_BYTES
      key.copy(this.#ring.bytes, place, part * RECORD_BYTES, (part + 1) * RECORD_BYTES)
    }
    this.#publish(parts + 1)
    return true
  }
}

/** The other end. */
export class RingReader {
  readonly #ring: Ring
  #tail = 0
  /** Number → account, as announced. */
  #accounts: Account[] = []

  /** @throws TypeError when the buffer holds something else */
  constructor(buffer: SharedArrayBuffer) {
    this.#ring = new Ring(buffer)
  }

  /** Hands on everything that is there, once. */
  drain(sink: UsageSink): void {
    const { words, floats, mask } = this.#ring
    const head = Atomics.load(words, HEAD_AT)
    while (this.#tail !== head) {
      const at = (this.#tail & mask) * FLOATS
      const id = floats[at]!
      if (id < 0) {
        this.#tail = (this.#tail + this.#meet(-1 - id, floats[at + 1]!)) | 0
        continue
      }
      sink.add(
        this.#accounts[id]!,
        floats[at + 1]!,
        floats[at + 2]!,
        floats[at + 3]!,
        floats[at + 4]!,
        floats[at + 5]!,
        floats[at + 6]!,
        floats[at + 7]!,
      )
      this.#tail = (this.#tail + 1) | 0
    }
    Atomics.store(words, TAIL_AT, head)
  }

  /** @returns how many records the announcement took */
  #meet(id: number, length: number): number {
    const { bytes, mask } = this.#ring
    const parts = Math.ceil(length / RECORD_BYTES)
    const key = Buffer.alloc(parts * RECORD_BYTES)
    for (let part = 0; part < parts; part++) {
      const place = ((this.#tail + 1 + part) & mask) * RECORD_BYTES
      bytes.copy(key, part * RECORD_BYTES, place, place + RECORD_BYTES)
    }
    // Whoever writes has begun anew, or is another one.
    if (id === FIRST_ACCOUNT) this.#accounts = []
    this.#accounts[id] = Account.of(key.toString('utf8', 0, length))
    return parts + 1
  }
}
