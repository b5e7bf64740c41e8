/** Decoder of the chunked transfer coding, RFC 9112 §7.1, strict: what others guess at is an error here. */

import { MalformedMessage } from './malformed.ts'

const CR = 13
const LF = 10
const TAB = 9
const SPACE = 32
const SEMICOLON = 59
const DELETE = 127
/** 13 hex digits stay below 2^53. */
const MAX_SIZE_DIGITS = 13
const MAX_EXTENSION_BYTES = 4096
const MAX_TRAILER_BYTES = 16_384

type State =
  | 'size'
  | 'size-end'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailers'
  | 'done'

/** Hex digit → value, -1 for anything else. */
const HEX = new Int8Array(256).fill(-1)
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit
}

/** Who takes the data; it has to copy what outlives the call. */
export interface ChunkSink {
  onData(bytes: Buffer, start: number, end: number): void
}

/** RFC 9112 §7.1.1, in ASCII and without white space: names, and values that are tokens or quoted. */
const EXTENSIONS =
  /^(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[\t !#-[\]-~]|\\[\t -~])*"))?)+$/

/** `strict`: of chunk extensions only what the grammar has. `lenient`: any text, also with white space before it. */
export type ExtensionRules = 'strict' | 'lenient'

export class ChunkedDecoder {
  readonly #rules: ExtensionRules
  #state: State = 'size'
  #remaining = 0
  #digits = 0
  #extensionBytes = 0
  #trailer = ''
  /** The trailer line that has not ended. */
  #line = ''
  #extensions = ''

  constructor(rules: ExtensionRules = 'lenient') {
    this.#rules = rules
  }

  reset(): void {
    this.#state = 'size'
    this.#remaining = 0
    this.#digits = 0
    this.#extensionBytes = 0
    this.#trailer = ''
    this.#line = ''
    this.#extensions = ''
  }

  /** The raw trailer section, without its closing empty line; '' where there is none. */
  get trailer(): string {
    return this.#trailer
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  /**
   * Consumes `bytes` from `offset` up to `limit`, telling `sink` where data stands in them.
   * @returns the offset behind the last byte consumed; what follows a finished body is not touched
   * @throws MalformedMessage
   */
  decode(bytes: Buffer, offset: number, limit: number, sink: ChunkSink): number {
    let at = offset
    while (at < limit && this.#state !== 'done') {
      switch (this.#state) {
        case 'size':
        case 'size-end':
        case 'extension':
        case 'size-lf':
          this.#sizeByte(bytes[at++]!)
          break
        case 'data': {
          const end = Math.min(limit, at + this.#remaining)
          sink.onData(bytes, at, end)
          this.#remaining -= end - at
          at = end
          if (this.#remaining === 0) this.#state = 'data-cr'
          break
        }
        case 'data-cr':
          if (bytes[at++] !== CR) throw new MalformedMessage('chunk data is not followed by CRLF')
          this.#state = 'data-lf'
          break
        case 'data-lf':
          if (bytes[at++] !== LF) throw new MalformedMessage('chunk data is not followed by CRLF')
          this.#state = 'size'
          break
        case 'trailers':
          at = this.#trailerBytes(bytes, at, limit)
          break
      }
    }
    return at
  }

  #sizeByte(byte: number): void {
    if (this.#state === 'size-lf') {
      if (byte !== LF) throw new MalformedMessage('chunk size is not followed by CRLF')
      this.#digits = 0
      this.#extensionBytes = 0
      this.#state = this.#remaining === 0 ? 'trailers' : 'data'
      return
    }
    if (byte === CR) {
      if (this.#digits === 0) throw new MalformedMessage('chunk without a size')
      if (this.#extensions !== '' && !EXTENSIONS.test(this.#extensions))
        throw new MalformedMessage('invalid chunk extension')
      this.#extensions = ''
      this.#state = 'size-lf'
      return
    }
    if (this.#state === 'extension') {
      if ((byte < SPACE && byte !== TAB) || byte === DELETE)
        throw new MalformedMessage('control character in a chunk extension')
      if (++this.#extensionBytes > MAX_EXTENSION_BYTES)
        throw new MalformedMessage('chunk extension too long', 'chunk')
      this.#note(byte)
      return
    }
    const digit = HEX[byte]!
    if (digit >= 0 && this.#state === 'size') {
      if (++this.#digits > MAX_SIZE_DIGITS) throw new MalformedMessage('chunk size too large')
      this.#remaining = this.#remaining * 16 + digit
      return
    }
    // RFC 9112 §7.1.1: an extension begins with ';', and white space before it is to be put up with.
    const isSpace = this.#rules === 'lenient' && (byte === SPACE || byte === TAB)
    if (this.#digits > 0 && (byte === SEMICOLON || isSpace)) {
      if (++this.#extensionBytes > MAX_EXTENSION_BYTES)
        throw new MalformedMessage('chunk extension too long', 'chunk')
      this.#state = byte === SEMICOLON ? 'extension' : 'size-end'
      this.#note(byte)
      return
    }
    throw new MalformedMessage('invalid chunk size')
  }

  #note(byte: number): void {
    if (this.#rules === 'strict') this.#extensions += String.fromCharCode(byte)
  }

  #trailerBytes(bytes: Buffer, offset: number, limit: number): number {
    // Line by line: to look at all of it again with each byte would be quadratic work for whoever sends long ones.
    let at = offset
    while (at < limit) {
      const lineEnd = bytes.indexOf(LF, at)
      const ends = lineEnd !== -1 && lineEnd < limit
      const next = ends ? lineEnd + 1 : limit
      this.#line += bytes.toString('latin1', at, next)
      at = next
      if (this.#trailer.length + this.#line.length > MAX_TRAILER_BYTES)
        throw new MalformedMessage('trailer section too large', 'chunk')
      if (!ends) break
      if (!this.#line.endsWith('\r\n')) throw new MalformedMessage('bare LF in the trailer section')
      if (this.#line === '\r\n') {
        this.#trailer = this.#trailer.slice(0, -2)
        this.#line = ''
        this.#state = 'done'
        return at
      }
      this.#trailer += this.#line
      this.#line = ''
    }
    return at
  }
}
