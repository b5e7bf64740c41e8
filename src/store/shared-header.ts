/**
 * The first 128 bytes of every shared buffer of the store: what it is, and how it is laid out. A thread that was
 * handed the wrong buffer, or one of another build, is told so when it attaches, not by wrong counts later.
 */

/** Room for the header; a table's own fields follow the four words used here. Two cache lines. */
export const HEADER_BYTES = 128
export const HEADER_WORDS = HEADER_BYTES / 4
/** The first header word free for the owner of the buffer. */
export const OWN_HEADER_WORD = 4

const MAGIC = 0x4f52594e
const MAGIC_AT = 0
const VERSION_AT = 1
const KIND_AT = 2
const BYTES_AT = 3

/** Where the lower and the upper half of a 64-bit word stand on this processor, in 32-bit words. */
const littleEndian = new Int32Array(new BigInt64Array([1n]).buffer)[0] === 1
export const LOW = littleEndian ? 0 : 1
export const HIGH = littleEndian ? 1 : 0

/** What a buffer holds, and in which layout: a change of layout raises its version. */
export interface Layout {
  readonly name: string
  readonly kind: number
  readonly version: number
}

/**
 * A new shared buffer of `HEADER_BYTES + bytes`, zeroed, with its header written.
 *
 * @throws RangeError when the machine cannot give that much memory
 */
export function createBuffer(layout: Layout, bytes: number): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(HEADER_BYTES + bytes)
  const words = new Int32Array(buffer, 0, OWN_HEADER_WORD)
  words[MAGIC_AT] = MAGIC
  words[VERSION_AT] = layout.version
  words[KIND_AT] = layout.kind
  words[BYTES_AT] = Math.ceil(buffer.byteLength / HEADER_BYTES)
  return buffer
}

/**
 * Refuses a buffer that does not hold this layout.
 *
 * @throws TypeError naming what is wrong with it
 */
export function checkBuffer(layout: Layout, buffer: SharedArrayBuffer): void {
  if (buffer.byteLength < HEADER_BYTES) throw new TypeError(`not a buffer of ${layout.name}: too short`)
  const words = new Int32Array(buffer, 0, OWN_HEADER_WORD)
  if (words[MAGIC_AT] !== MAGIC || words[KIND_AT] !== layout.kind)
    throw new TypeError(`not a buffer of ${layout.name}`)
  if (words[VERSION_AT] !== layout.version)
    throw new TypeError(`${layout.name} has layout ${words[VERSION_AT]}, this build reads ${layout.version}`)
  if (words[BYTES_AT] !== Math.ceil(buffer.byteLength / HEADER_BYTES))
    throw new TypeError(`${layout.name} has another size than its header says`)
}
