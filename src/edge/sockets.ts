/** The sockets of clients, read without a buffer of its own for each read. */

import { Socket } from 'node:net'

type OnBytes = (bytes: Buffer, count: number) => void

/** Every read of this thread lands here and is parsed before the next one; what must last is copied out. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

interface Handle {
  useUserBuffer?: unknown
}

/**
 * Has the bytes of an accepted socket (one that is paused since its acceptance) delivered to `onBytes`, which may use
 * the buffer during the call only.
 *
 * `net` lets the one who connects say where reads should land (`onread`), but not the one who accepts; a socket made
 * anew around the same handle can say so. Without that each read costs an allocation of 64 KiB, a copy, and the way
 * through a Readable: 9 % of a small request. Where handles are not what they were in Node 26, that way is taken.
 * @returns the socket to use from now on
 */
export function readInto(accepted: Socket, onBytes: OnBytes): Socket {
  const owner = accepted as unknown as { _handle: Handle | null }
  const handle = owner._handle
  if (typeof handle?.useUserBuffer !== 'function') {
    accepted.on('data', (bytes: Buffer) => onBytes(bytes, bytes.length))
    accepted.resume()
    return accepted
  }
  owner._handle = null
  const options = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: readBuffer,
      callback(count: number) {
        onBytes(readBuffer, count)
        return true
      },
    },
  }
  return new Socket(options as object)
}
