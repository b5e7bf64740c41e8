/** Ways to end a client connection, each of which says something else to the peer. */

import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Ends it so that nobody can take what was sent for whole: with a reset, whether the peer reads or not. */
export function reset(socket: Socket): void {
  // Encrypted, an end without a goodbye says the same (RFC 8446 §6.1), and there is no other way.
  if (socket instanceof TLSSocket) return void socket.destroy()
  // A reset of what is being shut down is refused by the system's library, and the file would stay open for ever.
  if (socket.writableEnded) return void socket.destroy()
  // With bytes waiting, `resetAndDestroy` would wait until a peer that does not read has taken them. Without any it
  // must be left alone: it has begun a shutdown, which a second step would collide with, leaving the file open.
  const stuck = socket.writableLength > 0
  socket.resetAndDestroy()
  if (stuck) socket.destroy()
}
