/** Tells HTTP/2 with prior knowledge (RFC 9113 §3.3) from HTTP/1 by the first bytes of a connection. */

import type { Socket } from 'node:net'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import type { OpenConnection } from './client-connection.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export interface PrefaceHost {
  /** Seconds. */
  readonly headerTimeout: number
  /** The connection speaks HTTP/2. All of its bytes are in the socket's buffer. */
  onHttp2(): void
  /** It does not. `bytes` were read of it. */
  onHttp1(bytes: Buffer): void
  onClosed(unknown: OpenConnection): void
}

/** A connection that has not said what it speaks. */
export class UnknownConnection implements Expiring, OpenConnection {
  deadline: number
  readonly idle = true
  readonly #socket: Socket
  readonly #host: PrefaceHost
  #bytes: Buffer | null = null

  constructor(socket: Socket, host: PrefaceHost) {
    this.#socket = socket
    this.#host = host
    this.deadline = deadlineIn(host.headerTimeout)
    watchDeadline(this)
    socket.on('data', this.#onData)
    socket.on('error', this.#onGone)
    socket.on('end', this.#onGone)
    socket.on('close', this.#onClose)
    socket.resume()
  }

  expire(): void {
    this.destroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  readonly #onData = (more: Buffer): void => {
    const bytes = this.#bytes === null ? more : Buffer.concat([this.#bytes, more])
    const length = Math.min(bytes.length, PREFACE.length)
    const isPreface = bytes.compare(PREFACE, 0, length, 0, length) === 0
    if (isPreface && length < PREFACE.length) {
      this.#bytes = bytes
      return
    }
    this.#leave()
    if (!isPreface) return this.#host.onHttp1(bytes)
    this.#socket.unshift(bytes)
    this.#host.onHttp2()
  }

  readonly #onGone = (): void => this.destroy()

  readonly #onClose = (): void => {
    this.#leave()
    this.#host.onClosed(this)
  }

  #leave(): void {
    unwatchDeadline(this)
    this.#socket.pause()
    this.#socket.off('data', this.#onData)
    this.#socket.off('error', this.#onGone)
    this.#socket.off('end', this.#onGone)
    this.#socket.off('close', this.#onClose)
  }
}
