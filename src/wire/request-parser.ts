/**
 * Parser of HTTP/1.x requests, RFC 9112, for bytes from strangers. It takes one grammar and no dialects: whatever
 * another parser could read otherwise is refused, since the difference is what smuggled requests are made of.
 * Held against llhttp, the parser of `node:http`, in its tests: what this one takes, that one takes for the same.
 */

import { ChunkedDecoder } from './chunked.ts'
import { type FieldLines, fieldName, isToken } from './fields.ts'
import { HeadReader, parseFields } from './head.ts'
import { MalformedMessage } from './malformed.ts'
import { RememberedBytes } from './remembered-bytes.ts'
import type { RequestFraming } from './request-head.ts'
import { RequestHeaders } from './request-headers.ts'

export interface RequestMessage {
  /** A token, in the letter case in which it came. */
  readonly method: string
  /** The request target as it came: printable ASCII, in no form in particular. */
  readonly target: string
  /** The digit behind `HTTP/1.`. */
  readonly minor: 0 | 1
  readonly headers: RequestHeaders
  readonly framing: RequestFraming
}

export interface RequestListener {
  onHead(message: RequestMessage): void
  /** Bytes of the body, from `start` to `end` of what is being parsed: copy what outlives the call. */
  onData(bytes: Buffer, start: number, end: number): void
  /** The request is whole. */
  onEnd(trailers: FieldLines): void
}

const CR = 13
const LF = 10

/** Request line and fields, without the empty line that ends them. */
export const MAX_REQUEST_HEAD_BYTES = 32_768
/** As many as fit into a head of that size: how many are too many is for the receiver to say. */
const MAX_FIELDS = MAX_REQUEST_HEAD_BYTES / 4
const MAX_TRAILER_FIELDS = 64

type State = 'head' | 'length' | 'chunked'

export class RequestParser {
  readonly #listener: RequestListener
  readonly #head = new HeadReader(MAX_REQUEST_HEAD_BYTES)
  #chunked: ChunkedDecoder | null = null
  #state: State = 'head'
  #remaining = 0
  /**
   * A client sends the same fields again and again, so those of the last request are kept: one comparison of bytes in
   * place of decoding and parsing them, and what was derived from them stands too.
   */
  readonly #lastFields = new RememberedBytes()
  #lastHeaders: RequestHeaders | null = null
  #requests = 0

  constructor(listener: RequestListener) {
    this.#listener = listener
  }

  /** Nothing of a request has arrived since the last one ended. */
  get idle(): boolean {
    return this.#state === 'head' && (!this.#head.begun || this.#head.blank)
  }

  /** Lets go of what was kept for a next request. */
  forget(): void {
    this.#lastFields.forget()
    this.#lastHeaders = null
    this.#requests = 0
  }

  /** A request's body is on its way. */
  get inBody(): boolean {
    return this.#state !== 'head'
  }

  /**
   * Parses from `start` up to `end`, but never past the end of one request.
   * @returns the offset behind the last byte consumed
   * @throws MalformedMessage; nothing behind that can be understood
   */
  execute(bytes: Buffer, start: number, end: number): number {
    let at = start
    if (this.#state === 'head') {
      const next = this.#takeHead(bytes, at, end)
      if (next === -1) return end
      at = next
      if (this.#state === 'head') return at
    }
    if (this.#state === 'length') {
      const stop = Math.min(end, at + this.#remaining)
      if (stop === at) return at
      this.#remaining -= stop - at
      this.#listener.onData(bytes, at, stop)
      if (this.#remaining === 0) this.#finish([])
      return stop
    }
    const decoder = this.#chunked!
    at = decoder.decode(bytes, at, end, this.#listener)
    if (decoder.done) this.#finish(trailersOf(decoder.trailer))
    return at
  }

  #takeHead(bytes: Buffer, start: number, end: number): number {
    const inOnePiece = !this.#head.begun
    if (inOnePiece) {
      const behind = this.#takeKnown(bytes, start, end)
      if (behind !== -1) return behind
    }
    let behind: number
    try {
      behind = this.#head.take(bytes, start, end)
    } catch (error) {
      // The request line itself is what did not fit: no line has ended in all that has arrived.
      const isTarget = /^[A-Z]{1,32} [^\r\n]*$/.test(this.#head.beginning(MAX_REQUEST_HEAD_BYTES / 2))
      throw isTarget ? new MalformedMessage('request line too large', 'target') : error
    }
    if (behind === -1) return -1
    let { text } = this.#head
    this.#head.reset()
    // An empty line in front of a request, RFC 9112 §2.2
    const skipped = text.startsWith('\r\n') ? 2 : 0
    text = text.slice(skipped)
    if (text === '') return behind
    const lineEnd = text.indexOf('\r\n')
    const line = lineEnd === -1 ? text : text.slice(0, lineEnd)
    const headers = new RequestHeaders(lineEnd === -1 ? [] : parseFields(text, lineEnd + 2, MAX_FIELDS))
    if (headers.get('transfer-encoding') !== undefined && TAB_BEHIND.test(text))
      throw new MalformedMessage('tab behind a value')
    // Not those of a first request: many connections never carry another.
    if (inOnePiece && lineEnd !== -1 && this.#requests++ > 0)
      this.#lastFields.keep(bytes, start + skipped + lineEnd + 2, behind)
    else this.#lastFields.forget()
    this.#lastHeaders = null
    this.#begin(line, headers)
    return behind
  }

  /** @returns the offset behind a head that ends with the same fields as the last one, or -1 */
  #takeKnown(bytes: Buffer, start: number, end: number): number {
    const { length } = this.#lastFields
    if (length === 0) return -1
    const lineEnd = bytes.indexOf(LF, start)
    if (lineEnd <= start || lineEnd >= end || bytes[lineEnd - 1] !== CR) return -1
    if (lineEnd - start + length > MAX_REQUEST_HEAD_BYTES) return -1
    if (!this.#lastFields.standAt(bytes, lineEnd + 1, end)) return -1
    const behind = lineEnd + 1 + length
    // Not the object that the request before had: somebody may have changed it. This one cannot be.
    this.#lastHeaders ??= frozenHeaders(bytes.toString('latin1', lineEnd + 1, behind - 4))
    this.#begin(bytes.toString('latin1', start, lineEnd - 1), this.#lastHeaders)
    return behind
  }

  #begin(line: string, headers: RequestHeaders): void {
    const first = line.indexOf(' ')
    const last = line.lastIndexOf(' ')
    const method = line.slice(0, first)
    if (first === -1 || !isToken(method)) throw new MalformedMessage('invalid request line')
    const minor = minorVersion(line.slice(last + 1))
    const target = line.slice(first + 1, last)
    if (first === last || UNSAFE_TARGET.test(target)) throw new MalformedMessage('invalid request line')
    const framingOf = minor === 1 ? framingOf11 : framingOf10
    const framing = headers.derived.get(framingOf, framingOf)
    if (framing === 'chunked') {
      this.#state = 'chunked'
      this.#chunked ??= new ChunkedDecoder('strict')
      this.#chunked.reset()
    } else if (framing !== 'none' && framing > 0) {
      this.#state = 'length'
      this.#remaining = framing
    }
    this.#listener.onHead({ method, target, minor, headers, framing })
    if (this.#state === 'head') this.#listener.onEnd([])
  }

  #finish(trailers: FieldLines): void {
    this.#state = 'head'
    this.#listener.onEnd(trailers)
  }
}

function trailersOf(text: string): FieldLines {
  const trailers = parseFields(text, 0, MAX_TRAILER_FIELDS)
  for (let i = 0; i < trailers.length; i += 2) {
    const { lower } = fieldName(trailers[i]!)
    // How long the body is has been said, RFC 9110 §6.5.1
    if (lower === 'content-length' || lower === 'transfer-encoding')
      throw new MalformedMessage('framing field in the trailer section')
  }
  return trailers
}

function frozenHeaders(text: string): RequestHeaders {
  const headers = new RequestHeaders(parseFields(text, 0, MAX_FIELDS))
  headers.freeze()
  return headers
}

/** White space that some parsers take for a part of the value in front of it. */
const TAB_BEHIND = /\t[ \t]*(?:\r\n|$)/

/** Spaces, controls and anything beyond ASCII. */
const UNSAFE_TARGET = /[^\x21-\x7e]/

function minorVersion(version: string): 0 | 1 {
  if (version === 'HTTP/1.1') return 1
  if (version === 'HTTP/1.0') return 0
  if (/^HTTP\/\d\.\d$/.test(version)) throw new MalformedMessage('not HTTP/1.1 or HTTP/1.0', 'version')
  throw new MalformedMessage('invalid HTTP version')
}

const framingOf11 = (headers: RequestHeaders): RequestFraming => framingOf(headers, 1)
const framingOf10 = (headers: RequestHeaders): RequestFraming => framingOf(headers, 0)

/** RFC 9112 §6.3, without its leniencies: one way to say how long a body is, or none. */
function framingOf(headers: RequestHeaders, minor: 0 | 1): RequestFraming {
  const codings = headers.getAll('transfer-encoding')
  const lengths = headers.getAll('content-length')
  if (codings.length > 0) {
    if (minor === 0) throw new MalformedMessage('Transfer-Encoding in HTTP/1.0')
    if (lengths.length > 0) throw new MalformedMessage('Content-Length beside Transfer-Encoding')
    if (codings.length > 1 || codings[0]!.toLowerCase() !== 'chunked')
      throw new MalformedMessage('transfer coding other than chunked', 'coding')
    return 'chunked'
  }
  if (lengths.length === 0) return 'none'
  const [text = ''] = lengths
  if (lengths.length > 1) throw new MalformedMessage('repeated Content-Length')
  if (!/^\d+$/.test(text)) throw new MalformedMessage('invalid Content-Length')
  const length = Number(text)
  if (!Number.isSafeInteger(length)) throw new MalformedMessage('Content-Length too large', 'length')
  return length
}
