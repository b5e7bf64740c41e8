/**
 * Parser of HTTP/1.x responses, RFC 9112, for bytes from upstreams. Strict on framing: an answer whose
 * end could be read in two ways is refused, since the bytes in dispute would become the next client's answer.
 */

import { ChunkedDecoder } from './chunked.ts'
import { type FieldLines, fieldName, isToken, withoutOuterSpace } from './fields.ts'
import { MalformedResponse } from './malformed.ts'

export interface ResponseHead {
  readonly status: number
  /** Field lines as sent, framing and hop-by-hop fields included. */
  readonly fields: FieldLines
  /** Bytes announced by Content-Length, or -1. Set for HEAD and 304 too, where no body follows. */
  readonly contentLength: number
  /** The upstream keeps the connection open behind this answer. */
  readonly keepAlive: boolean
  readonly hasBody: boolean
}

export interface ResponseListener {
  /** A 1xx answer other than 101. */
  onInformational(status: number, fields: FieldLines): void
  onHead(head: ResponseHead): void
  /** A view into the chunk being parsed: copy what outlives the call. */
  onData(data: Buffer): void
  /** The answer is whole. Called at most once for each answer, last. */
  onEnd(trailers: FieldLines): void
}

/** Status line and fields, without the empty line that ends them. */
export const MAX_HEAD_BYTES = 65_536
const MAX_FIELDS = 512
const END_OF_HEAD = Buffer.from('\r\n\r\n')
const MAX_INFORMATIONAL = 16

type State = 'idle' | 'head' | 'length' | 'chunked' | 'until-close' | 'done'

/** Everything in a head that is neither text, HTAB nor CRLF. */
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/

export class ResponseParser {
  readonly #listener: ResponseListener
  readonly #chunked = new ChunkedDecoder()
  #state: State = 'idle'
  #requestMethod = ''
  #remaining = 0
  #informational = 0
  /** The head's bytes so far, when it did not arrive in one piece. */
  #partial: PartialHead | null = null

  constructor(listener: ResponseListener) {
    this.#listener = listener
  }

  /** Awaits the answer to a request with this method. */
  begin(requestMethod: string): void {
    this.#state = 'head'
    this.#requestMethod = requestMethod
    this.#informational = 0
    this.#partial = null
  }

  /**
   * Feeds bytes. Bytes beyond the end of an answer are an error: nothing was asked that they could answer.
   * @throws MalformedResponse
   */
  execute(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length) {
      switch (this.#state) {
        case 'head':
          at = this.#head(bytes, at)
          break
        case 'length': {
          const end = Math.min(bytes.length, at + this.#remaining)
          this.#remaining -= end - at
          this.#listener.onData(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end))
          at = end
          if (this.#remaining === 0) this.#finish(at, bytes.length, [])
          break
        }
        case 'chunked':
          at = this.#chunked.decode(bytes, at, data => this.#listener.onData(data))
          if (this.#chunked.done) this.#finish(at, bytes.length, parseTrailer(this.#chunked.trailer))
          break
        case 'until-close':
          this.#listener.onData(at === 0 ? bytes : bytes.subarray(at))
          at = bytes.length
          break
        case 'idle':
        case 'done':
          throw new MalformedResponse('bytes behind the end of the answer')
      }
    }
  }

  /**
   * The upstream closed its side.
   * @returns false when that cuts an answer short
   */
  close(): boolean {
    if (this.#state === 'until-close') {
      this.#state = 'done'
      this.#listener.onEnd([])
      return true
    }
    return this.#state === 'done' || this.#state === 'idle'
  }

  #finish(at: number, length: number, trailers: FieldLines): void {
    // Checked before the answer is called whole, so that the connection is not handed on with a foreign byte in it.
    this.#state = 'done'
    if (at < length) throw new MalformedResponse('bytes behind the end of the answer')
    this.#listener.onEnd(trailers)
  }

  #head(bytes: Buffer, offset: number): number {
    const held = this.#partial
    if (held === null) {
      const end = bytes.indexOf(END_OF_HEAD, offset)
      if (end === -1) {
        this.#hold(new PartialHead(), bytes, offset)
        // Up to three bytes of its end may be here
        checkHeadLength(bytes.length - offset - 3)
        return bytes.length
      }
      checkHeadLength(end - offset)
      this.#begin(bytes.toString('latin1', offset, end), end + 4, bytes.length)
      return end + 4
    }
    const before = held.length
    this.#hold(held, bytes, offset)
    const end = held.indexOfEnd(before)
    checkHeadLength(end === -1 ? held.length - 3 : end)
    if (end === -1) return bytes.length
    this.#partial = null
    const consumed = offset + (end + 4 - before)
    this.#begin(held.text(end), consumed, bytes.length)
    return consumed
  }

  /** Keeps the bytes of a head that has not ended. A copy, since the caller reuses its buffer. */
  #hold(partial: PartialHead, bytes: Buffer, offset: number): void {
    this.#partial = partial
    partial.append(bytes, offset)
  }

  #begin(text: string, at: number, length: number): void {
    if (CONTROL.test(text)) throw new MalformedResponse('control character in the header block')
    const lineEnd = text.indexOf('\r\n')
    const line = lineEnd === -1 ? text : text.slice(0, lineEnd)
    const minor = line.startsWith('HTTP/1.1 ') ? 1 : line.startsWith('HTTP/1.0 ') ? 0 : -1
    const status = statusOf(line)
    if (minor === -1 || status === -1 || line.includes('\r') || line.includes('\n')) {
      throw new MalformedResponse('invalid status line')
    }
    const fields = lineEnd === -1 ? [] : parseFields(text.slice(lineEnd + 2))
    if (status < 200) {
      // Nothing here asks for an upgrade, so a 101 would be a tunnel that nobody owns.
      if (status === 101) throw new MalformedResponse('101 without an upgrade')
      if (++this.#informational > MAX_INFORMATIONAL) throw new MalformedResponse('too many 1xx answers')
      this.#listener.onInformational(status, fields)
      return
    }
    const framing = framingOf(fields, minor)
    const hasBody = this.#requestMethod !== 'HEAD' && status !== 204 && status !== 304
    const delimited = !hasBody || framing.chunked || framing.contentLength >= 0
    const bodyExpected = hasBody && framing.contentLength !== 0
    this.#state = !bodyExpected ? 'done' : framing.chunked ? 'chunked' : delimited ? 'length' : 'until-close'
    this.#remaining = framing.contentLength
    if (framing.chunked) this.#chunked.reset()
    if (!bodyExpected && at < length) throw new MalformedResponse('bytes behind the end of the answer')
    this.#listener.onHead({
      status,
      fields,
      contentLength: framing.contentLength,
      keepAlive: framing.keepAlive && delimited,
      hasBody: bodyExpected,
    })
    if (!bodyExpected) this.#listener.onEnd([])
  }
}

/** Three digits, 100 to 599, then a space and a reason or the end of the line. -1 for anything else. */
function statusOf(line: string): number {
  const status =
    (line.charCodeAt(9) - 48) * 100 + (line.charCodeAt(10) - 48) * 10 + (line.charCodeAt(11) - 48)
  if (!(status >= 100 && status <= 599) || !/^\d{3}(?: |$)/.test(line.slice(9, 13))) return -1
  return status
}

function parseTrailer(text: string): FieldLines {
  if (CONTROL.test(text)) throw new MalformedResponse('control character in the trailer section')
  return parseFields(text)
}

function parseFields(text: string): FieldLines {
  const fields: FieldLines = []
  let start = 0
  while (start < text.length) {
    let end = text.indexOf('\r\n', start)
    if (end === -1) end = text.length
    const colon = text.indexOf(':', start)
    if (colon === -1 || colon >= end) throw new MalformedResponse('header line without a colon')
    const name = text.slice(start, colon)
    // Also refuses white space before the colon and folded lines, RFC 9112 §5.1 and §5.2.
    if (!isToken(name)) throw new MalformedResponse('invalid header name')
    const value = withoutOuterSpace(text.slice(colon + 1, end))
    if (value.includes('\r') || value.includes('\n')) throw new MalformedResponse('bare CR or LF in a header')
    fields.push(name, value)
    if (fields.length > 2 * MAX_FIELDS) throw new MalformedResponse('too many header fields')
    start = end + 2
  }
  return fields
}

interface Framing {
  chunked: boolean
  contentLength: number
  keepAlive: boolean
}

function framingOf(fields: FieldLines, minor: number): Framing {
  let contentLength = -1
  let chunked = false
  let keepAlive = minor === 1
  for (let i = 0; i < fields.length; i += 2) {
    switch (fieldName(fields[i]!).lower) {
      case 'content-length':
        if (contentLength !== -1) throw new MalformedResponse('repeated Content-Length')
        if (!/^\d{1,15}$/.test(fields[i + 1]!)) throw new MalformedResponse('invalid Content-Length')
        contentLength = Number(fields[i + 1])
        break
      case 'transfer-encoding':
        if (chunked || minor === 0 || fields[i + 1]!.toLowerCase() !== 'chunked') {
          throw new MalformedResponse('unsupported Transfer-Encoding')
        }
        chunked = true
        break
      case 'connection': {
        const value = fields[i + 1]!.toLowerCase()
        if (/(?:^|,)\s*close\s*(?:,|$)/.test(value)) keepAlive = false
        else if (minor === 0 && /(?:^|,)\s*keep-alive\s*(?:,|$)/.test(value)) keepAlive = true
        break
      }
    }
  }
  if (chunked && contentLength !== -1) throw new MalformedResponse('Content-Length beside Transfer-Encoding')
  return { chunked, contentLength, keepAlive }
}

function checkHeadLength(length: number): void {
  if (length > MAX_HEAD_BYTES) throw new MalformedResponse('header block too large')
}

/** The pieces of a head that arrives in several reads, in a buffer that doubles. */
class PartialHead {
  #bytes = Buffer.allocUnsafe(4_096)
  length = 0

  append(bytes: Buffer, offset: number): void {
    const needed = this.length + bytes.length - offset
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.length)
      this.#bytes = larger
    }
    bytes.copy(this.#bytes, this.length, offset)
    this.length = needed
  }

  /** Where the head ends, or -1; `before` bytes were searched already. */
  indexOfEnd(before: number): number {
    return this.#bytes.subarray(0, this.length).indexOf(END_OF_HEAD, Math.max(0, before - 3))
  }

  text(end: number): string {
    return this.#bytes.toString('latin1', 0, end)
  }
}
