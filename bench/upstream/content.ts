import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'

// A gigabyte that is cheap to make and to check, in which no part can stand for another: each block carries its
// own number over a pattern that does not repeat inside it.

export const MEBIBYTE = 1 << 20

const BLOCK = 64 * 1024
const SLOW_BYTES_PER_SECOND = 64 * MEBIBYTE
const STALL_MILLISECONDS = 2_000

export type Speed = 'fast' | 'slow'

/** How a side of a transfer behaves: `stall` lets a slow one stand still for two seconds half-way. */
export type Manner = { speed: Speed; stall: boolean }

export type Received = { bytes: number; checksum: number }

const pattern = makePattern()
const known = new Map<number, number>()

/** The content, block by block, as slowly as told. `bytes` is a multiple of the block size. */
export async function* content(bytes: number, manner: Manner): AsyncGenerator<Buffer> {
  const pace = pacer(bytes, manner)
  for (let number = 0; number < bytes / BLOCK; number++) {
    await pace(BLOCK)
    yield block(number)
  }
}

/** Reads a body to its end, as slowly as told. */
export async function receive(
  body: AsyncIterable<Buffer>,
  expected: number,
  manner: Manner,
): Promise<Received> {
  const pace = pacer(expected, manner)
  const received = { bytes: 0, checksum: 0 }
  for await (const chunk of body) {
    received.bytes += chunk.length
    received.checksum = crc32(chunk, received.checksum)
    await pace(chunk.length)
  }
  return received
}

/** The checksum that so many bytes of the content must have. */
export function checksumOf(bytes: number): number {
  let checksum = known.get(bytes)
  if (checksum === undefined) {
    checksum = 0
    for (let number = 0; number < bytes / BLOCK; number++) checksum = crc32(block(number), checksum)
    known.set(bytes, checksum)
  }
  return checksum
}

function pacer(total: number, { speed, stall }: Manner): (bytes: number) => Promise<void> | undefined {
  if (speed === 'fast') return () => undefined
  let begin = performance.now()
  let passed = 0
  let stalled = !stall
  return async bytes => {
    passed += bytes
    if (!stalled && passed >= total / 2) {
      stalled = true
      begin += STALL_MILLISECONDS
    }
    const ahead = begin + (passed / SLOW_BYTES_PER_SECOND) * 1000 - performance.now()
    if (ahead > 1) await delay(ahead)
  }
}

function block(number: number): Buffer {
  const copy = Buffer.allocUnsafe(BLOCK)
  pattern.copy(copy)
  copy.writeUInt32LE(number, 0)
  return copy
}

/** A linear congruential sequence: the same in every process, without a repetition within a block. */
function makePattern(): Buffer {
  const bytes = Buffer.alloc(BLOCK)
  let state = 1
  for (let offset = 0; offset < BLOCK; offset += 4) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes.writeUInt32LE(state, offset)
  }
  return bytes
}
