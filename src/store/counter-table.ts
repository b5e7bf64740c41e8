/**
 * The table under the shared counters: slots in one SharedArrayBuffer, found by hash, claimed by compare-and-swap,
 * reclaimed when they expired. No locks: a thread that is stopped anywhere keeps nobody else from going on.
 *
 * A key belongs to one **bucket** of 30 slots and may stand in any of them. A bucket has a 64-bit *membership* word
 * (32 bits of version, one bit for each slot that holds an entry), the first and the last hash word of each slot, and right
 * behind them the slots: whoever looks at both looks at one page of memory, which counts where a table is larger than
 * what the processor remembers of pages. A slot is 16 bytes: a 64-bit *value* word (11 bits of generation, 53 of value),
 * the tick at which it *expires*, and the second hash word. With the bucket's share that is 24.3 bytes per slot, and 2.5
 * slots are laid out per key of the capacity: of buckets that full, about two in a million are too small.
 *
 * Three words decide, each by compare-and-swap alone:
 *
 * 1. `expires` decides whose the slot is. Extending an entry's life and taking over an expired slot swap the same
 *    word, so an entry that was extended cannot be reclaimed on stale knowledge. While it is negative one thread owns
 *    the slot. Otherwise it only ever grows in one slot, so a swap that succeeds saw no other owner in between.
 * 2. `membership` decides which slots hold entries. Its version rises with every change, and an entry is published
 *    by a swap against the version under which its key was seen to be absent. Hence **a key has at most one slot
 *    that is published and not owned**. An expired slot of the same key is taken over itself, never left beside.
 * 3. `value` decides what was counted. A new owner first takes the slot out of the membership, then raises the
 *    generation, then writes the hash. An operation reads value, expires, membership, hash, in this order, and then
 *    swaps the value it read. If that succeeds the generation was the same all along; a hash written later would
 *    have come with another generation, one not yet complete with a negative `expires` or no membership. Hence **the
 *    counter that was changed is the counter of the key**. Its entry may have been reclaimed meanwhile: then the
 *    operation counts as done at the moment at which it saw the entry alive, just before it expired.
 *
 * Limits of the proof: generations repeat after 2,048, and each owner raises `expires` by a tick at least. So a thread
 * would have to sleep for 204.8 s or more between two instructions, the slot to change hands a multiple of 2,048 times
 * meanwhile, and the same value to stand there again. A thread that is terminated while it owns a slot (about a
 * microsecond) loses that one slot until the process ends.
 */

import { type CounterKey, hashName, randomSeed, SEED_WORDS } from './counter-key.ts'
import {
  checkBuffer,
  createBuffer,
  HEADER_BYTES,
  HEADER_WORDS,
  HIGH,
  type Layout,
  LOW,
  OWN_HEADER_WORD,
} from './shared-header.ts'

const LAYOUT: Layout = { name: 'shared counters', kind: 1, version: 2 }

const SLOTS = 30
const KEYS_PER_BUCKET = 12
const MAX_BUCKETS = 2 ** 21

const TAGS_AT = 2
const THIRDS_AT = TAGS_AT + SLOTS
const SLOTS_AT = THIRDS_AT + SLOTS
const SLOT_WORDS = 4
const EXPIRES_AT = 2
const SECOND_AT = 3
const BUCKET_WORDS = SLOTS_AT + SLOTS * SLOT_WORDS
const BUCKET_BYTES = BUCKET_WORDS * 4

const BUCKETS_AT = OWN_HEADER_WORD
const EPOCH_AT = OWN_HEADER_WORD + 2
const SEED_AT = OWN_HEADER_WORD + 4
/** On a cache line of its own: it is written when the table is full, and the rest is not written at all. */
const OVERFLOWS_AT = HEADER_WORDS / 2

/** Expiry is kept in ticks of 100 ms since the table was made: 2^31 of them are 6.8 years. */
const TICK_MS = 100
const LAST_TICK = 2 ** 31 - 1
/** How long a slot is reserved for a thread that wants to publish in it: 1 s. The operation that follows extends it. */
const LEASE_TICKS = 10

const VALUE_HIGH_MASK = 0x1fffff
const GENERATION_SHIFT = 21
const TWO_32 = 2 ** 32

/** The largest value of a counter; sums above it stay there. */
export const MAX_VALUE = Number.MAX_SAFE_INTEGER

/** No slot. */
export const NONE = -1

export class CounterTable {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #longs: BigInt64Array
  readonly #buckets: number
  readonly #epoch: number
  readonly #seed: Int32Array
  /** Splits and joins 64-bit words, without arithmetic on BigInts. */
  readonly #long = new BigInt64Array(1)
  readonly #halves = new Int32Array(this.#long.buffer)
  /** What `find` saw in the slot that it found. */
  #seenValue = 0n
  #seenExpires = 0

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer)
    this.#longs = new BigInt64Array(buffer, 0, Math.floor(buffer.byteLength / 8))
    this.#buckets = this.#words[BUCKETS_AT]!
    this.#epoch = Number(this.#longs[EPOCH_AT >> 1]!)
    this.#seed = this.#words.slice(SEED_AT, SEED_AT + SEED_WORDS)
  }

  /** A new table; see `SharedCounters.create`. */
  static create(capacity: number, now: number): CounterTable {
    const buckets = Math.ceil(capacity / KEYS_PER_BUCKET)
    if (!(buckets >= 1 && buckets <= MAX_BUCKETS))
      throw new RangeError(`a table of counters holds 1 to ${MAX_BUCKETS * KEYS_PER_BUCKET} keys`)
    const buffer = createBuffer(LAYOUT, buckets * BUCKET_BYTES)
    const words = new Int32Array(buffer)
    words[BUCKETS_AT] = buckets
    // Ticks start at whole tenths of a second, so that windows which end on such are kept to the millisecond.
    new BigInt64Array(buffer, 0, HEADER_BYTES / 8)[EPOCH_AT >> 1] = BigInt(
      Math.floor(now / TICK_MS) * TICK_MS - TICK_MS,
    )
    randomSeed(words.subarray(SEED_AT, SEED_AT + SEED_WORDS))
    return new CounterTable(buffer)
  }

  /** The table that another thread created. */
  static attach(buffer: SharedArrayBuffer): CounterTable {
    checkBuffer(LAYOUT, buffer)
    return new CounterTable(buffer)
  }

  /** Milliseconds since 1970 from which ticks are counted, a tick or two before the table was made. */
  get epoch(): number {
    return this.#epoch
  }

  key(name: string): CounterKey {
    return hashName(name, this.#seed)
  }

  /** The tick of a moment. A clock that stands before the table's creation (or is not a number) reads as its first. */
  tickOf(now: number): number {
    const tick = Math.floor((now - this.#epoch) / TICK_MS)
    return tick >= 1 ? Math.min(tick, LAST_TICK - LEASE_TICKS) : 1
  }

  /** The tick at which something expires: never earlier than asked, and always after `tick`. */
  expiryTickOf(expiresAt: number, tick: number): number {
    const expires = Math.ceil((expiresAt - this.#epoch) / TICK_MS)
    return expires > tick ? Math.min(expires, LAST_TICK) : tick + 1
  }

  /** How often `claim` found its bucket full, over all threads. */
  get overflows(): number {
    return Atomics.load(this.#words, OVERFLOWS_AT) >>> 0
  }

  /** The slot of a live entry, or `NONE`. What it saw there is what `value`, `extend` and `replace` go by. */
  find(key: CounterKey, tick: number): number {
    const words = this.#words
    const bucket = this.#bucketOf(key)
    let index = preferredSlot(key)
    for (let probed = 0; probed < SLOTS; probed++) {
      // A plain read: it only says where to look. One that comes too early ends in `claim`, which looks again.
      if (words[bucket + TAGS_AT + index] === key.tag) {
        const slot = slotAt(bucket, index)
        // The order of these reads is part of the proof above. Those between two atomic ones may be plain, which are not
        // calls: they come behind the one of `expires`, and the last word of a hash is written last.
        const value = Atomics.load(this.#longs, slot >> 1)
        const expires = Atomics.load(words, slot + EXPIRES_AT)
        if (
          expires > tick &&
          (words[bucket + LOW]! & (1 << index)) !== 0 &&
          words[slot + SECOND_AT] === key.second &&
          Atomics.load(words, bucket + THIRDS_AT + index) === key.third
        ) {
          this.#seenValue = value
          this.#seenExpires = expires
          return slot
        }
      }
      index = index === SLOTS - 1 ? 0 : index + 1
    }
    return NONE
  }

  /** The value that `find` saw. */
  get value(): number {
    this.#long[0] = this.#seenValue
    return (this.#halves[HIGH]! & VALUE_HIGH_MASK) * TWO_32 + (this.#halves[LOW]! >>> 0)
  }

  /** The slot still has the owner that it had when `find` read its value. */
  unchanged(slot: number): boolean {
    this.#long[0] = this.#seenValue
    return (
      Atomics.load(this.#words, slot + HIGH) >>> GENERATION_SHIFT === this.#halves[HIGH]! >>> GENERATION_SHIFT
    )
  }

  /** Lets the entry live until `tick` at least. False when it changed since `find`. */
  extend(slot: number, tick: number): boolean {
    const seen = this.#seenExpires
    return tick <= seen || Atomics.compareExchange(this.#words, slot + EXPIRES_AT, seen, tick) === seen
  }

  /** Puts `value` in the place of what `find` saw. False when the slot changed since. */
  replace(slot: number, value: number): boolean {
    const seen = this.#seenValue
    this.#long[0] = seen
    this.#halves[LOW] = value | 0
    this.#halves[HIGH] = (this.#halves[HIGH]! & ~VALUE_HIGH_MASK) | (value / TWO_32)
    return Atomics.compareExchange(this.#longs, slot >> 1, seen, this.#long[0]) === seen
  }

  /**
   * Makes an entry for a key that `find` did not find: zero, with a lease for the operation that makes it. True asks to
   * find it again, for another thread may have been faster, or have taken the slot. False when every slot of the bucket
   * is in use, which counts as an overflow.
   */
  claim(key: CounterKey, tick: number, expires: number): boolean {
    const bucket = this.#bucketOf(key)
    for (;;) {
      const membership = Atomics.load(this.#longs, bucket >> 1)
      let slot = this.#member(key, bucket, membership, NONE)
      if (slot === NONE) slot = this.#expired(key, bucket, tick)
      if (slot === NONE) {
        Atomics.add(this.#words, OVERFLOWS_AT, 1)
        return false
      }
      const seen = Atomics.load(this.#words, slot + EXPIRES_AT)
      if (seen > tick) return true
      if (seen < 0 || Atomics.compareExchange(this.#words, slot + EXPIRES_AT, seen, ~seen) !== seen) continue
      const lease = Math.min(expires, tick + LEASE_TICKS)
      this.#rebuild(slot, bucket, key, lease)
      if (this.#publish(slot, bucket, key, lease)) return true
    }
  }

  /** Gives a slot that this thread owns to `key`. The order of these writes is part of the proof above. */
  #rebuild(slot: number, bucket: number, key: CounterKey, lease: number): void {
    const words = this.#words
    const index = indexOf(slot, bucket)
    while (!this.#swapMembership(bucket, Atomics.load(this.#longs, bucket >> 1), index, false));
    const generation = (Atomics.load(words, slot + HIGH) >>> GENERATION_SHIFT) + 1
    this.#halves[LOW] = 0
    this.#halves[HIGH] = generation << GENERATION_SHIFT
    Atomics.store(this.#longs, slot >> 1, this.#long[0]!)
    Atomics.store(words, slot + SECOND_AT, key.second)
    Atomics.store(words, bucket + THIRDS_AT + index, key.third)
    Atomics.store(words, bucket + TAGS_AT + index, key.tag)
    Atomics.store(words, slot + EXPIRES_AT, lease)
  }

  /** Adds a rebuilt slot to the membership, unless the key has another slot by now or the lease ran out. */
  #publish(slot: number, bucket: number, key: CounterKey, lease: number): boolean {
    for (;;) {
      const membership = Atomics.load(this.#longs, bucket >> 1)
      if (this.#member(key, bucket, membership, slot) !== NONE) return false
      if (Atomics.load(this.#words, slot + EXPIRES_AT) !== lease) return false
      if (this.#swapMembership(bucket, membership, indexOf(slot, bucket), true)) return true
    }
  }

  /** The slot, other than `except`, that is published for the key and not owned; expired ones count. */
  #member(key: CounterKey, bucket: number, membership: bigint, except: number): number {
    this.#long[0] = membership
    const members = this.#halves[LOW]!
    for (let index = 0; index < SLOTS; index++) {
      if ((members & (1 << index)) === 0 || this.#words[bucket + TAGS_AT + index] !== key.tag) continue
      const slot = slotAt(bucket, index)
      if (
        slot !== except &&
        Atomics.load(this.#words, slot + SECOND_AT) === key.second &&
        Atomics.load(this.#words, bucket + THIRDS_AT + index) === key.third &&
        Atomics.load(this.#words, slot + EXPIRES_AT) >= 0
      )
        return slot
    }
    return NONE
  }

  /** The first slot from the key's preferred one on that has expired, was never used, or was not published in time. */
  #expired(key: CounterKey, bucket: number, tick: number): number {
    let index = preferredSlot(key)
    for (let probed = 0; probed < SLOTS; probed++) {
      const slot = slotAt(bucket, index)
      // A plain read, as in `find`: `claim` looks again before it takes the slot.
      const expires = this.#words[slot + EXPIRES_AT]!
      if (expires >= 0 && expires <= tick) return slot
      index = index === SLOTS - 1 ? 0 : index + 1
    }
    return NONE
  }

  #swapMembership(bucket: number, seen: bigint, index: number, member: boolean): boolean {
    this.#long[0] = seen
    const members = this.#halves[LOW]!
    this.#halves[LOW] = member ? members | (1 << index) : members & ~(1 << index)
    this.#halves[HIGH] = this.#halves[HIGH]! + 1
    return Atomics.compareExchange(this.#longs, bucket >> 1, seen, this.#long[0]) === seen
  }

  #bucketOf(key: CounterKey): number {
    return HEADER_WORDS + Math.floor(((key.tag >>> 0) * this.#buckets) / TWO_32) * BUCKET_WORDS
  }
}

function slotAt(bucket: number, index: number): number {
  return bucket + SLOTS_AT + index * SLOT_WORDS
}

function indexOf(slot: number, bucket: number): number {
  return (slot - bucket - SLOTS_AT) / SLOT_WORDS
}

/** Where the search in a bucket starts. By bits that the bucket was not chosen by, so that few slots are probed. */
function preferredSlot(key: CounterKey): number {
  return ((key.second >>> 16) * SLOTS) >>> 16
}
