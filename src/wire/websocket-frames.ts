/**
 * Follows WebSocket frames (RFC 6455 §5.2) through bytes that pass untouched: where one ends, so that a frame of the
 * gateway's own can stand behind it, how large they are, and with which code the connection closes.
 */

import { randomFillSync } from 'node:crypto'

/** Close codes that the gateway itself sends, RFC 6455 §7.4.1. */
export const GOING_AWAY = 1001
export const TOO_BIG = 1009

/** A close frame without a code. */
const NO_CODE = 1005
const OPCODE_CLOSE = 8
const MAX_HEADER_BYTES = 14

export class FrameFollower {
  readonly #maxFrameSize: number
  /** Bytes of the current frame's payload that are still to come. */
  #remaining = 0
  /** A header that has not come whole. */
  #partial: Buffer | null = null
  /** The payload that is coming is a close frame's: how much of its code has come. */
  #closing = -1
  #mask = 0
  #code = 0
  /** The code of the first close frame; 0: there was none. */
  closeCode = 0

  /** @param maxFrameSize bytes of payload */
  constructor(maxFrameSize: number) {
    this.#maxFrameSize = maxFrameSize
  }

  /** Nothing of a frame has begun that has not ended. */
  get atBoundary(): boolean {
    return this.#remaining === 0 && this.#partial === null
  }

  /**
   * Takes note of bytes from `start` up to `end`.
   * @returns `end`, or the offset up to which they may pass: there, or before, a frame began that is too large. Nothing
   * behind it can be followed any more.
   */
  follow(bytes: Buffer, start: number, end: number): number {
    let at = start
    while (at < end) {
      if (this.#remaining > 0) {
        const taken = Math.min(this.#remaining, end - at)
        if (this.#closing >= 0) this.#readCode(bytes, at, at + taken)
        this.#remaining -= taken
        at += taken
        if (this.#remaining === 0) this.#closing = -1
        continue
      }
      const before = this.#partial?.length ?? 0
      const header =
        before === 0 ? bytes.subarray(at, Math.min(end, at + MAX_HEADER_BYTES)) : this.#join(bytes, at, end)
      const length = headerLength(header)
      if (header.length < length) {
        this.#partial = Buffer.from(header)
        return end
      }
      this.#partial = null
      const size = payloadLength(header)
      if (size > this.#maxFrameSize) {
        // Where its beginning has passed already, nothing can stand behind it.
        if (before > 0) this.#remaining = Number.POSITIVE_INFINITY
        return at
      }
      this.#begin(header, length, size)
      at += length - before
    }
    return end
  }

  #join(bytes: Buffer, at: number, end: number): Buffer {
    const partial = this.#partial!
    return Buffer.concat([partial, bytes.subarray(at, Math.min(end, at + MAX_HEADER_BYTES - partial.length))])
  }

  #begin(header: Buffer, length: number, size: number): void {
    this.#remaining = size
    if ((header[0]! & 0x0f) !== OPCODE_CLOSE || this.closeCode !== 0) return
    if (size < 2) this.closeCode = NO_CODE
    else {
      this.#closing = 0
      // The two bytes of the mask that fall on the code
      this.#mask = isMasked(header) ? header.readUInt16BE(length - 4) : 0
    }
  }

  #readCode(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end && this.#closing < 2; at++) {
      const shift = this.#closing === 0 ? 8 : 0
      this.#code |= (bytes[at]! ^ ((this.#mask >> shift) & 0xff)) << shift
      if (++this.#closing === 2) this.closeCode = this.#code
    }
  }
}

function isMasked(header: Buffer): boolean {
  return (header[1]! & 0x80) !== 0
}

/** How many bytes the header has that begins so; as many as it needs to tell, while it cannot be told. */
function headerLength(header: Buffer): number {
  if (header.length < 2) return 2
  const size = header[1]! & 0x7f
  return 2 + (size === 127 ? 8 : size === 126 ? 2 : 0) + (isMasked(header) ? 4 : 0)
}

function payloadLength(header: Buffer): number {
  const size = header[1]! & 0x7f
  if (size === 126) return header.readUInt16BE(2)
  if (size === 127) return header.readUInt32BE(2) * 2 ** 32 + header.readUInt32BE(6)
  return size
}

const ENCODER = new TextEncoder()
/** Control frames have 125 bytes at the most (RFC 6455 §5.5), two of them for the code. */
const REASON = new Uint8Array(123)

/**
 * A close frame.
 * @param reason as much of it as fits into 123 bytes of UTF-8, in whole characters
 * @param masked as clients send them (RFC 6455 §5.3)
 */
export function closeFrame(code: number, reason: string, masked: boolean): Buffer {
  const { written } = ENCODER.encodeInto(reason, REASON)
  const size = 2 + written
  const start = masked ? 6 : 2
  const frame = Buffer.alloc(start + size)
  frame[0] = 0x80 | OPCODE_CLOSE
  frame[1] = size | (masked ? 0x80 : 0)
  frame.writeUInt16BE(code, start)
  frame.set(REASON.subarray(0, written), start + 2)
  if (!masked) return frame
  randomFillSync(frame, 2, 4)
  for (let i = 0; i < size; i++) frame[start + i]! ^= frame[2 + (i % 4)]!
  return frame
}
