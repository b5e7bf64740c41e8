import type { Socket } from 'node:net'
import type { FieldLines } from '../wire/fields.ts'
import { writeWhole } from '../wire/whole-message.ts'

/** Up to this size a chunk is cheaper copied between its size and its end than sent in three pieces. */
const ONE_STRING_BYTES = 4_096

/**
 * Writes a body as it streams: as it is, or in the chunked coding (RFC 9112 §7.1). Small chunks that arrive together
 * leave together, at the end of the same turn of the loop.
 */
export class BodyWriter {
  readonly #socket: Socket
  readonly #chunked: boolean
  /** What waits for the end of the turn; at first the head, so that what has come of the body leaves with it. */
  #pending: string
  #scheduled = false

  /** @param head of the message, as Latin-1: written with the first chunk, or by `flush` */
  constructor(socket: Socket, chunked: boolean, head = '') {
    this.#socket = socket
    this.#chunked = chunked
    this.#pending = head
  }

  /** @returns false when the socket is full: its `drain` follows */
  write(chunk: Buffer): boolean {
    if (chunk.length === 0) return true
    if (!this.#chunked) return this.#writePlain(chunk)
    const size = `${chunk.length.toString(16)}\r\n`
    if (chunk.length <= ONE_STRING_BYTES) {
      this.#pending += `${size}${chunk.toString('latin1')}\r\n`
      if (!this.#scheduled) {
        this.#scheduled = true
        process.nextTick(() => {
          this.#scheduled = false
          this.flush()
        })
      }
      return !this.#socket.writableNeedDrain
    }
    const socket = this.#socket
    socket.cork()
    socket.write(this.#takePending() + size, 'latin1')
    socket.write(chunk)
    const flowing = socket.write('\r\n', 'latin1')
    socket.uncork()
    return flowing
  }

  #writePlain(chunk: Buffer): boolean {
    if (this.#pending === '') return this.#socket.write(chunk)
    writeWhole(this.#socket, this.#takePending(), chunk)
    return !this.#socket.writableNeedDrain
  }

  flush(): void {
    if (this.#pending !== '') this.#socket.write(this.#takePending(), 'latin1')
  }

  /** What waits is not sent any more. */
  discard(): void {
    this.#pending = ''
  }

  end(trailers: FieldLines): void {
    if (!this.#chunked) return this.flush()
    let text = `${this.#takePending()}0\r\n`
    for (let i = 0; i < trailers.length; i += 2) text += `${trailers[i]}: ${trailers[i + 1]}\r\n`
    this.#socket.write(`${text}\r\n`, 'latin1')
  }

  #takePending(): string {
    const pending = this.#pending
    this.#pending = ''
    return pending
  }
}
