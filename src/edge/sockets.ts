/** The sockets of clients, read without a buffer of its own for each read. */

import { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** How the sockets of clients are accepted. */
export const ACCEPTED = {
  allowHalfOpen: true,
  noDelay: true,
  // Finds out about peers that vanished without a word, behind streams that may be silent for long.
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
} as const

/** Where the bytes of sockets go. One may serve many of them. */
export interface Reader {
  readonly buffer: Buffer
  callback(this: Socket, count: number, bytes?: Buffer): boolean
}

/** Every read of this thread lands here and is parsed before the next one; what must last is copied out. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

/** @param onBytes called with the socket as `this`; it may use the bytes during the call only */
export function readerOf(onBytes: (this: Socket, bytes: Buffer, count: number) => void): Reader {
  return {
    buffer: readBuffer,
    callback(count, bytes = readBuffer) {
      onBytes.call(this, bytes, count)
      return true
    },
  }
}

interface Handle {
  useUserBuffer?: unknown
}

/**
 * Has the bytes of an accepted socket (one that is paused since its acceptance) delivered to a reader.
 *
 * `net` lets the one who connects say where reads should land (`onread`), but not the one who accepts; a socket made
 * anew around the same handle can say so. Without that each read costs an allocation of 64 KiB, a copy, and the way
 * through a Readable: 9 % of a small request. Where handles are not what they were in Node 26, and with encryption in
 * between, that way is taken.
 * @returns the socket to use from now on
 */
export function readInto(accepted: Socket, reader: Reader): Socket {
  const owner = accepted as unknown as { _handle: Handle | null }
  const handle = owner._handle
  if (typeof handle?.useUserBuffer !== 'function' || accepted instanceof TLSSocket) {
    // It may have been read by somebody else, whose time is over
    for (const event of ['data', 'drain', 'end']) accepted.removeAllListeners(event)
    accepted.on('data', (bytes: Buffer) => reader.callback.call(accepted, bytes.length, bytes))
    accepted.resume()
    return accepted
  }
  owner._handle = null
  const options = { handle, allowHalfOpen: true, onread: reader }
  return new Socket(options as object)
}
