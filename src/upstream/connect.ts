/** How a socket to an endpoint is opened, so that its bytes land where its owner wants them. */

import net from 'node:net'
import tls from 'node:tls'
import type { Endpoint } from './endpoint.ts'
import type { ReadMemory } from './read-memory.ts'

/** What is heard of a socket, with the socket as `this`: one object serves them all. */
export interface SocketListeners {
  onConnected(this: net.Socket): void
  /** The bytes may be used during the call only. */
  onBytes(this: net.Socket, bytes: Buffer, count: number): void
  onDrain(this: net.Socket): void
  onError(this: net.Socket, error: NodeJS.ErrnoException): void
  onEnd(this: net.Socket): void
  onClose(this: net.Socket): void
}

export function connectTo(endpoint: Endpoint, memory: ReadMemory, listeners: SocketListeners): net.Socket {
  const socket =
    endpoint.tls === null
      ? connectPlain(endpoint, memory, listeners)
      : connectTls(endpoint, endpoint.tls, listeners)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 60_000)
  socket.on('drain', listeners.onDrain)
  socket.on('error', listeners.onError)
  socket.on('end', listeners.onEnd)
  socket.on('close', listeners.onClose)
  return socket
}

function connectPlain({ host, port }: Endpoint, memory: ReadMemory, listeners: SocketListeners): net.Socket {
  const socket = net.connect({
    host,
    port,
    onread: {
      // Asked once at the start, then behind each read; anything but a buffer means the same one again.
      buffer: () => memory.next() as Buffer,
      callback: readCallback(listeners),
    },
  })
  socket.once('connect', listeners.onConnected)
  return socket
}

type ReadCallback = (count: number, bytes: Uint8Array) => boolean

const callbacks = new WeakMap<SocketListeners, ReadCallback>()

/** In the form that `net` asks for, made once. */
function readCallback(listeners: SocketListeners): ReadCallback {
  let callback = callbacks.get(listeners)
  if (callback === undefined) {
    callback = function (this: net.Socket, count: number, bytes: Uint8Array): boolean {
      listeners.onBytes.call(this, bytes as Buffer, count)
      return true
    } as ReadCallback
    callbacks.set(listeners, callback)
  }
  return callback
}

function connectTls(
  { host, port }: Endpoint,
  { ca, servername }: NonNullable<Endpoint['tls']>,
  listeners: SocketListeners,
): net.Socket {
  const socket = tls.connect({
    host,
    port,
    ALPNProtocols: ['http/1.1'],
    ...(ca === undefined ? {} : { ca }),
    ...(servername === undefined ? {} : { servername }),
  })
  socket.once('secureConnect', listeners.onConnected)
  socket.on('data', (bytes: Buffer) => listeners.onBytes.call(socket, bytes, bytes.length))
  return socket
}

/**
 * An upstream that answers early and closes makes writing fail while its answer still waits to be read, and a socket
 * that fails to write is destroyed with all it holds. So such failures are taken from the socket, and only told: put in
 * front of the methods that every Writable implements.
 */
export function hearRefusals(socket: net.Socket, onRefused: () => void): void {
  const { _write: write, _writev: writev } = socket
  const guard = (done: (error?: Error | null) => void) => (error?: Error | null) => {
    if (error == null || !isRefusal(error)) return done(error)
    onRefused()
    done()
  }
  socket._write = (chunk, encoding, done) => write.call(socket, chunk, encoding, guard(done))
  if (writev !== undefined) socket._writev = (chunks, done) => writev.call(socket, chunks, guard(done))
}

function isRefusal(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EPIPE' || error.code === 'ECONNRESET'
}
