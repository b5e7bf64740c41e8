/** What heads of requests and responses have in common: where they end, and the field lines in them. */

import { type FieldLines, fieldName, withoutOuterSpace } from './fields.ts'
import { MalformedMessage } from './malformed.ts'

const CR = 13
const LF = 10
const END_OF_HEAD = '\r\n\r\n'
/** Heads are shorter than this, as a rule: what is looked at before a search through all that arrived. */
const USUAL_HEAD_BYTES = 2_048

/** Finds the end of a head in bytes that come in any pieces, and gives the head as Latin-1 text. */
export class HeadReader {
  readonly #limit: number
  #partial: PartialHead | null = null
  /** The head behind which `take` found the end, without its empty line. */
  text = ''

  /** @param limit bytes that a head may have */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Some bytes of a head that has not ended have been taken. */
  get begun(): boolean {
    return this.#partial !== null
  }

  /** Nothing but an empty line, or the first half of one, has been taken. */
  get blank(): boolean {
    const text = this.beginning(3)
    return text === '' || text === '\r' || text === '\r\n'
  }

  reset(): void {
    this.text = ''
    this.#partial = null
  }

  /**
   * Takes bytes from `start` up to `end`.
   * @returns the offset behind the empty line that ends the head, or -1 when it has not ended; then all is taken
   * @throws MalformedMessage when the head is larger than the limit
   */
  take(bytes: Buffer, start: number, end: number): number {
    if (this.#partial !== null) return this.#continue(this.#partial, bytes, start, end)
    const text = bytes.toString('latin1', start, Math.min(end, start + USUAL_HEAD_BYTES))
    let at = text.indexOf(END_OF_HEAD)
    if (at !== -1) this.text = text.slice(0, at)
    else if (end - start > USUAL_HEAD_BYTES) {
      const more = bytes.toString('latin1', start, Math.min(end, start + this.#limit + END_OF_HEAD.length))
      at = more.indexOf(END_OF_HEAD)
      if (at !== -1) this.text = more.slice(0, at)
    }
    if (at !== -1) {
      this.#check(at)
      return start + at + END_OF_HEAD.length
    }
    this.#partial = new PartialHead()
    this.#partial.append(bytes, start, end)
    // Up to three bytes of its end may be here
    this.#check(end - start - 3)
    this.#partial.checkLineEnds(0)
    return -1
  }

  /** Up to `length` bytes of a head that has not ended. */
  beginning(length: number): string {
    return this.#partial?.text(Math.min(this.#partial.length, length)) ?? ''
  }

  #continue(partial: PartialHead, bytes: Buffer, start: number, end: number): number {
    const before = partial.length
    partial.append(bytes, start, end)
    const at = partial.indexOfEnd(before)
    this.#check(at === -1 ? partial.length - 3 : at)
    if (at === -1) {
      partial.checkLineEnds(before)
      return -1
    }
    this.text = partial.text(at)
    this.#partial = null
    return start + (at + END_OF_HEAD.length - before)
  }

  #check(length: number): void {
    if (length > this.#limit) throw new MalformedMessage('header block too large', 'head')
  }
}

/** The pieces of a head that arrives in several reads, in a buffer that doubles. A copy, since readers reuse theirs. */
class PartialHead {
  #bytes = Buffer.allocUnsafe(1_024)
  length = 0

  append(bytes: Buffer, start: number, end: number): void {
    const needed = this.length + end - start
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.length)
      this.#bytes = larger
    }
    bytes.copy(this.#bytes, this.length, start, end)
    this.length = needed
  }

  /** A line that ends with a bare LF would be waited behind for ever. */
  checkLineEnds(from: number): void {
    for (
      let at = this.#bytes.indexOf(LF, from);
      at !== -1 && at < this.length;
      at = this.#bytes.indexOf(LF, at + 1)
    ) {
      if (at === 0 || this.#bytes[at - 1] !== CR) throw new MalformedMessage('bare LF in the header block')
    }
  }

  /** Where the head ends, or -1; `before` bytes were searched already. */
  indexOfEnd(before: number): number {
    return this.#bytes.subarray(0, this.length).indexOf(END_OF_HEAD, Math.max(0, before - 3), 'latin1')
  }

  text(end: number): string {
    return this.#bytes.toString('latin1', 0, end)
  }
}

/**
 * The field lines of a header or trailer section, which ends with the text.
 * @throws MalformedMessage on anything but `token ":" OWS field-value OWS CRLF` (RFC 9112 §5), and beyond `maxFields`
 */
export function parseFields(text: string, start: number, maxFields: number): FieldLines {
  const fields: FieldLines = []
  let at = start
  while (at < text.length) {
    let end = text.indexOf('\r\n', at)
    if (end === -1) end = text.length
    const colon = text.indexOf(':', at)
    if (colon === -1 || colon >= end) throw new MalformedMessage('header line without a colon')
    const name = text.slice(at, colon)
    // Also refuses white space before the colon and folded lines, RFC 9112 §5.1 and §5.2.
    if (!fieldName(name).isToken) throw new MalformedMessage('invalid header name')
    const value = withoutOuterSpace(text.slice(colon + 1, end))
    // The line ended at its CRLF, so a CR or LF in here is a bare one.
    if (CONTROL.test(value)) throw new MalformedMessage('control character in a header')
    fields.push(name, value)
    if (fields.length > 2 * maxFields) throw new MalformedMessage('too many header fields', 'head')
    at = end + 2
  }
  return fields
}

/** What is neither text nor HTAB. */
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/
