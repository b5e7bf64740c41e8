/** The header section of an HTTP/2 stream → a request in the form that all later stages know. */

import { type FieldLines, isFieldValue, isToken } from '../wire/fields.ts'
import type { RequestFraming } from '../wire/request-head.ts'
import { RequestHeaders } from '../wire/request-headers.ts'
import { MAX_REQUEST_HEAD_BYTES } from '../wire/request-parser.ts'

export interface Http2Message {
  readonly method: string
  /** `:path` as it came; '' for CONNECT, which has none. */
  readonly path: string
  /** With a Host in front, made of `:authority` where the client sent none. */
  readonly headers: RequestHeaders
  readonly framing: RequestFraming
  /** `:scheme` is one that the gateway serves. */
  readonly knownScheme: boolean
  /** `:authority` and Host name two different hosts. */
  readonly twoHosts: boolean
  /** The section is larger than a head of HTTP/1.1 may be. */
  readonly tooLarge: boolean
  /** Something in it could not be passed on in lines of text. */
  readonly unsafe: boolean
}

/** What is written in front of the fields of HTTP/1.1, so that the same size is too much for both. */
const LINE_BYTES = 4

/**
 * Reads header sections of one connection, one after the other. A client sends the same fields again and again: those
 * of the last request are kept, and what was derived from them stands too (as in wire/request-parser.ts).
 */
export class Http2RequestReader {
  #lastFields: readonly string[] = []
  #lastHeaders: RequestHeaders | null = null

  /** Lets go of what was kept for a next request. */
  forget(): void {
    this.#lastFields = []
    this.#lastHeaders = null
  }

  /**
   * @param fields flat, as they came: pseudo-fields first (RFC 9113 §8.3), names in lower case
   * @param ended whether the request is whole with its header section
   */
  read(fields: readonly string[], ended: boolean): Http2Message {
    let method = ''
    let path = ''
    let authority: string | null = null
    let scheme = ''
    let at = 0
    for (; at < fields.length && fields[at]!.charCodeAt(0) === 0x3a; at += 2) {
      const value = fields[at + 1]!
      if (fields[at] === ':path') path = value
      else if (fields[at] === ':method') method = value
      else if (fields[at] === ':authority') authority = value
      else if (fields[at] === ':scheme') scheme = value
    }
    const headers = this.#headersOf(fields, at, authority)
    const facts = headers.derived.get(factsOf, factsOf)
    return {
      method,
      path,
      headers,
      framing: framingOf(facts.length, method, ended),
      knownScheme: scheme === 'https' || scheme === 'http',
      twoHosts: facts.hosts > 1,
      tooLarge: facts.bytes + path.length > MAX_REQUEST_HEAD_BYTES,
      unsafe: facts.unsafe || !isToken(method) || UNSAFE_PATH.test(path),
    }
  }

  #headersOf(fields: readonly string[], start: number, authority: string | null): RequestHeaders {
    const known = this.#lastHeaders
    if (known !== null && sameFields(this.#lastFields, fields, start, authority)) return known
    const headers = new RequestHeaders(linesOf(fields, start, authority))
    // It may come to stand for more than one request.
    headers.freeze()
    this.#lastFields = keyOf(fields, start, authority)
    this.#lastHeaders = headers
    return headers
  }
}

/** What a section is recognised by: the authority, then its fields. */
function keyOf(fields: readonly string[], start: number, authority: string | null): readonly string[] {
  return [authority ?? '', ...fields.slice(start)]
}

function sameFields(
  known: readonly string[],
  fields: readonly string[],
  start: number,
  authority: string | null,
): boolean {
  if (known.length !== fields.length - start + 1 || known[0] !== (authority ?? '')) return false
  for (let i = 1; i < known.length; i++) if (known[i] !== fields[start + i - 1]) return false
  return true
}

function linesOf(fields: readonly string[], start: number, authority: string | null): FieldLines {
  const lines: FieldLines = []
  let cookieAt = -1
  if (authority !== null) lines.push('host', authority)
  for (let i = start; i < fields.length; i += 2) {
    const name = fields[i]!
    const value = fields[i + 1]!
    // Said already
    if (name === 'host' && authority !== null && sameHost(value, authority)) continue
    if (name !== 'cookie') lines.push(name, value)
    else if (cookieAt !== -1) lines[cookieAt] += `; ${value}`
    else {
      // Crumbs are one field again (RFC 9113 §8.2.3)
      lines.push(name, value)
      cookieAt = lines.length - 1
    }
  }
  return lines
}

const sameHost = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

interface Facts {
  readonly hosts: number
  /** -1: not said. */
  readonly length: number
  readonly bytes: number
  readonly unsafe: boolean
}

/** The frame parser has looked at all of it; this is where frames become lines, and a line break would become a field. */
const UNSAFE_PATH = /[^\x21-\x7e]/

function factsOf(headers: RequestHeaders): Facts {
  const length = headers.get('content-length')
  let bytes = 0
  for (let i = 0; i < headers.lines.length; i++) bytes += headers.lines[i]!.length
  return {
    hosts: headers.getAll('host').length,
    // Digits only, and no more than a number can hold: the frame parser has seen to that
    length: length === undefined ? -1 : Number(length),
    bytes: bytes + headers.names.length * LINE_BYTES,
    unsafe: headers.names.some(({ isToken }, i) => !isToken || !isFieldValue(headers.lines[2 * i + 1]!)),
  }
}

/** Methods whose upstreams like to be told that there is no body (RFC 9110 §8.6). */
const USUALLY_WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

function framingOf(length: number, method: string, ended: boolean): RequestFraming {
  if (length >= 0) return length
  if (!ended) return 'chunked'
  return USUALLY_WITH_BODY.has(method) ? 0 : 'none'
}
