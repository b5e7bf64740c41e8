/**
 * Names of counters, hashed to 96 bits with a secret seed.
 *
 * Clients choose part of the names (peer addresses, ids), so the hash is keyed: HalfSipHash (Aumasson and Bernstein,
 * "SipHash: a fast short-input PRF", 2012; the variant on 32-bit words) with one round for each word of input and
 * four at the end. The seed is 128 random bits that live in the table's buffer; neither it nor a hash ever leaves
 * the process, so names that meet in one bucket cannot be computed ahead.
 *
 * The table compares all 96 bits and keeps no name. The chance that any two of n names share a counter by accident
 * is about n² / 2^97: for a million names 6e-18.
 */

import { randomFillSync } from 'node:crypto'

/** A hashed name. It belongs to the table that made it: another table has another seed. */
export class CounterKey {
  /** The words of the hash. The first chooses the bucket and is looked for in it. */
  readonly tag: number
  readonly second: number
  readonly third: number

  constructor(tag: number, second: number, third: number) {
    this.tag = tag
    this.second = second
    this.third = third
  }
}

/** How many words `hashName` takes as its seed. */
export const SEED_WORDS = 4

/** Fills `seed` with randomness nobody can guess. */
export function randomSeed(seed: Int32Array): void {
  // The generator refuses shared memory, so by way of a copy.
  seed.set(randomFillSync(new Int32Array(SEED_WORDS)))
}

const FINAL_ROUNDS = 4

/** Hashes UTF-16 units as they are, two to a word. `seed` holds `SEED_WORDS` words. */
export function hashName(name: string, seed: Int32Array): CounterKey {
  let a = seed[0]!
  let b = seed[1]!
  let c = seed[2]!
  let d = seed[3]!
  const { length } = name
  const pairs = length >> 1
  // One loop for pairs, the last word and the final rounds, so that the round stands here once.
  const rounds = pairs + 1 + FINAL_ROUNDS
  for (let round = 0; round < rounds; round++) {
    let word = 0
    if (round < pairs) word = name.charCodeAt(2 * round) | (name.charCodeAt(2 * round + 1) << 16)
    else if (round === pairs) word = lastWord(name)
    else if (round === pairs + 1) c ^= 0xff
    d ^= word
    a = (a + b) | 0
    b = ((b << 5) | (b >>> 27)) ^ a
    a = (a << 16) | (a >>> 16)
    c = (c + d) | 0
    d = ((d << 8) | (d >>> 24)) ^ c
    a = (a + d) | 0
    d = ((d << 7) | (d >>> 25)) ^ a
    c = (c + b) | 0
    b = ((b << 13) | (b >>> 19)) ^ c
    c = (c << 16) | (c >>> 16)
    a ^= word
  }
  return new CounterKey(a, b, c)
}

/** The odd unit, if any, and the length: else names that end in zeros would equal shorter ones. */
function lastWord(name: string): number {
  const { length } = name
  return (length << 16) | ((length & 1) === 0 ? 0 : name.charCodeAt(length - 1))
}
