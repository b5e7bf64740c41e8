/** Ways to end a client connection, each of which says something else to the peer. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Ends it so that nobody can take what was sent for whole: with a reset, whether the peer reads or not. */
export function reset(socket: Socket): void {
  // With bytes waiting, `resetAndDestroy` would wait until a peer that does not read has taken them. Without any it
  // must be left alone: it has begun a shutdown, which a second step would collide with, leaving the file open.
  const stuck = socket.writableLength > 0
  socket.resetAndDestroy()
  if (stuck) socket.destroy()
}

/**
 * Keeps `node:http` from closing the socket together with the end of a response that says `Connection: close`: with
 * bytes of the request unread that would be a reset, and take the answer with it. Whoever calls this closes it.
 */
export function leaveOpenBehind(response: ServerResponse): void {
  // Not in the public interface, but there since Node 0.x; a test notices when it goes.
  ;(response as ServerResponse & { _last: boolean })._last = false
}

/**
 * Half-closes, and drops whatever still comes until the peer ends. The bytes go past the HTTP parser, whose work on many
 * tiny chunks would be felt by everyone else.
 */
export function dropUntilEnd(socket: Socket, onEnd: () => void): void {
  socket.removeAllListeners('data')
  socket.on('data', () => {})
  socket.once('end', onEnd)
  socket.resume()
  socket.end()
}
