/**
 * Parser of HTTP/1.x responses, RFC 9112, for bytes from upstreams. Strict on framing: an answer whose
 * end could be read in two ways is refused, since the bytes in dispute would become the next client's answer.
 */

import { ChunkedDecoder } from './chunked.ts'
import { Derived } from './derived.ts'
import { type FieldLines, fieldName } from './fields.ts'
import { HeadReader, parseFields } from './head.ts'
import { MalformedMessage } from './malformed.ts'
import { RememberedBytes } from './remembered-bytes.ts'

/** The head of an answer. It never changes, and stands for every answer with the same one. */
export class ResponseHead {
  readonly status: number
  /** Field lines as sent, framing and hop-by-hop fields included. */
  readonly fields: readonly string[]
  /** Bytes announced by Content-Length, or -1. Set for HEAD and 304 too, where no body follows. */
  readonly contentLength: number
  /** The upstream keeps the connection open behind this answer. */
  readonly keepAlive: boolean
  readonly hasBody: boolean
  readonly chunked: boolean
  /** It answers a HEAD request. */
  readonly toHead: boolean
  readonly derived = new Derived<ResponseHead>(this)

  constructor(status: number, fields: FieldLines, framing: Framing, toHead: boolean) {
    const bodyAllowed = !toHead && status !== 204 && status !== 304
    this.status = status
    this.fields = Object.freeze(fields)
    this.contentLength = framing.contentLength
    this.chunked = framing.chunked
    this.toHead = toHead
    this.hasBody = bodyAllowed && framing.contentLength !== 0
    this.keepAlive = framing.keepAlive && (!bodyAllowed || framing.chunked || framing.contentLength >= 0)
  }
}

export interface ResponseListener {
  /** A 1xx answer other than 101. */
  onInformational(status: number, fields: readonly string[]): void
  onHead(head: ResponseHead): void
  /** A 101, where one was asked for: what stands behind it is no HTTP any more. */
  onUpgrade(head: ResponseHead): void
  /** Bytes of the body, from `start` to `end` of what is being parsed: copy what outlives the call. */
  onData(bytes: Buffer, start: number, end: number): void
  /** The answer is whole. Called at most once for each answer, last. */
  onEnd(trailers: FieldLines): void
}

/** Status line and fields, without the empty line that ends them. */
export const MAX_HEAD_BYTES = 65_536
const MAX_FIELDS = 512
const MAX_INFORMATIONAL = 16

type State = 'idle' | 'head' | 'length' | 'chunked' | 'until-close' | 'done' | 'upgraded'

export class ResponseParser {
  readonly #listener: ResponseListener
  readonly #chunked = new ChunkedDecoder()
  #state: State = 'idle'
  #requestMethod = ''
  #mayUpgrade = false
  #remaining = 0
  #informational = 0
  /**
   * Answers to like requests have like heads, byte for byte for as long as the date stands: the last one is kept, so
   * that one comparison takes the place of decoding and parsing it.
   */
  readonly #lastBytes = new RememberedBytes()
  #last: ResponseHead | null = null
  #answers = 0
  readonly #head = new HeadReader(MAX_HEAD_BYTES)

  constructor(listener: ResponseListener) {
    this.#listener = listener
  }

  /** Awaits the answer to a request with this method, which may have asked for an upgrade. */
  begin(requestMethod: string, mayUpgrade = false): void {
    this.#state = 'head'
    this.#requestMethod = requestMethod
    this.#mayUpgrade = mayUpgrade
    this.#informational = 0
    this.#head.reset()
  }

  /**
   * Feeds bytes. Bytes beyond the end of an answer are an error: nothing was asked that they could answer.
   * @returns the offset behind the last byte consumed: all, but for what stands behind an upgrade
   * @throws MalformedMessage
   */
  execute(bytes: Buffer, start = 0, end = bytes.length): number {
    let at = start
    while (at < end) {
      switch (this.#state) {
        case 'head': {
          const next = this.#takeHead(bytes, at, end)
          if (next === -1) return end
          at = next
          break
        }
        case 'length': {
          const stop = Math.min(end, at + this.#remaining)
          this.#remaining -= stop - at
          this.#listener.onData(bytes, at, stop)
          at = stop
          if (this.#remaining === 0) this.#finish(at < end, [])
          break
        }
        case 'chunked':
          at = this.#chunked.decode(bytes, at, end, this.#listener)
          if (this.#chunked.done) this.#finish(at < end, parseFields(this.#chunked.trailer, 0, MAX_FIELDS))
          break
        case 'until-close':
          this.#listener.onData(bytes, at, end)
          at = end
          break
        case 'upgraded':
          return at
        case 'idle':
        case 'done':
          throw new MalformedMessage('bytes behind the end of the answer')
      }
    }
    return at
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

  #finish(moreFollows: boolean, trailers: FieldLines): void {
    // Checked before the answer is called whole, so that the connection is not handed on with a foreign byte in it.
    this.#state = 'done'
    if (moreFollows) throw new MalformedMessage('bytes behind the end of the answer')
    this.#listener.onEnd(trailers)
  }

  #takeHead(bytes: Buffer, start: number, end: number): number {
    const inOnePiece = !this.#head.begun
    const toHead = this.#requestMethod === 'HEAD'
    if (inOnePiece && this.#last?.toHead === toHead && this.#lastBytes.standAt(bytes, start, end)) {
      const behind = start + this.#lastBytes.length
      this.#begin(this.#last, behind < end)
      return behind
    }
    const behind = this.#head.take(bytes, start, end)
    if (behind === -1) return -1
    const head = parseHead(this.#head.text, toHead)
    this.#head.reset()
    if (head.status < 200) this.#inform(head)
    else {
      // Not that of a first answer: many connections never carry another.
      const kept = inOnePiece && this.#answers++ > 0 && this.#lastBytes.keep(bytes, start, behind)
      this.#last = kept ? head : null
      this.#begin(head, behind < end)
    }
    return behind
  }

  #inform(head: ResponseHead): void {
    if (head.status === 101) {
      // Where no upgrade was asked for it would be a tunnel that nobody owns.
      if (!this.#mayUpgrade) throw new MalformedMessage('101 without an upgrade')
      this.#state = 'upgraded'
      return this.#listener.onUpgrade(head)
    }
    if (++this.#informational > MAX_INFORMATIONAL) throw new MalformedMessage('too many 1xx answers')
    this.#listener.onInformational(head.status, head.fields)
  }

  #begin(head: ResponseHead, moreFollows: boolean): void {
    const { hasBody, chunked, contentLength } = head
    this.#state = !hasBody ? 'done' : chunked ? 'chunked' : contentLength >= 0 ? 'length' : 'until-close'
    this.#remaining = contentLength
    if (chunked) this.#chunked.reset()
    if (!hasBody && moreFollows) throw new MalformedMessage('bytes behind the end of the answer')
    this.#listener.onHead(head)
    if (!hasBody) this.#listener.onEnd([])
  }
}

function parseHead(text: string, toHead: boolean): ResponseHead {
  const lineEnd = text.indexOf('\r\n')
  const line = lineEnd === -1 ? text : text.slice(0, lineEnd)
  const minor = line.startsWith('HTTP/1.1 ') ? 1 : line.startsWith('HTTP/1.0 ') ? 0 : -1
  const status = statusOf(line)
  if (minor === -1 || status === -1 || CONTROL.test(line)) throw new MalformedMessage('invalid status line')
  const fields = lineEnd === -1 ? [] : parseFields(text, lineEnd + 2, MAX_FIELDS)
  const framing = status < 200 ? NO_FRAMING : framingOf(fields, minor)
  return new ResponseHead(status, fields, framing, toHead)
}

/** What must not stand in a status line. */
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/** Three digits, 100 to 599, then a space and a reason or the end of the line. -1 for anything else. */
function statusOf(line: string): number {
  const status =
    (line.charCodeAt(9) - 48) * 100 + (line.charCodeAt(10) - 48) * 10 + (line.charCodeAt(11) - 48)
  if (!(status >= 100 && status <= 599) || !/^\d{3}(?: |$)/.test(line.slice(9, 13))) return -1
  return status
}

interface Framing {
  readonly chunked: boolean
  readonly contentLength: number
  readonly keepAlive: boolean
}

const NO_FRAMING: Framing = { chunked: false, contentLength: -1, keepAlive: true }

function framingOf(fields: FieldLines, minor: number): Framing {
  let contentLength = -1
  let chunked = false
  let keepAlive = minor === 1
  for (let i = 0; i < fields.length; i += 2) {
    switch (fieldName(fields[i]!).lower) {
      case 'content-length':
        if (contentLength !== -1) throw new MalformedMessage('repeated Content-Length')
        if (!/^\d{1,15}$/.test(fields[i + 1]!)) throw new MalformedMessage('invalid Content-Length')
        contentLength = Number(fields[i + 1])
        break
      case 'transfer-encoding':
        if (chunked || minor === 0 || fields[i + 1]!.toLowerCase() !== 'chunked') {
          throw new MalformedMessage('unsupported Transfer-Encoding')
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
  if (chunked && contentLength !== -1) throw new MalformedMessage('Content-Length beside Transfer-Encoding')
  return { chunked, contentLength, keepAlive }
}
