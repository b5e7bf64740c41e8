/**
 * The one function that writes request heads for upstreams. Each rule against smuggling and spoofing stands here
 * and nowhere else: connection fields stay behind, framing is the gateway's own, asserted names come only from
 * the gateway, and nothing with a line break in it gets out.
 */

import { connectionOptions, isFieldValue, isToken } from './fields.ts'
import type { RequestHeaders } from './request-headers.ts'

/** `none`, or the number of bytes that follow, or `chunked`. */
export type RequestFraming = 'none' | 'chunked' | number

/** What of a client's fields stays behind on a route. */
export interface PassageRules {
  /** Canonical names that only the gateway may send: the client's never pass. */
  readonly asserted: ReadonlySet<string>
  /** Lower-case names dropped on this route, such as `cookie`. */
  readonly dropped: ReadonlySet<string>
}

export interface RequestHead {
  readonly method: string
  /** Origin form: path and query as they go on the wire. */
  readonly target: string
  readonly authority: string
  readonly headers: RequestHeaders
  readonly rules: PassageRules
  /** Canonical names that a policy replaced or removed for this request, or null. */
  readonly replaced: ReadonlySet<string> | null
  /** Lines written by the gateway (from `fieldLine`), each ended by CRLF. */
  readonly ownLines: string
  readonly framing: RequestFraming
  /** Ask the upstream for `100 Continue` before the body. */
  readonly expectContinue: boolean
}

/** What must never stand in a request line or a Host: controls, white space, anything beyond ASCII. */
const UNSAFE = /[^\x21-\x7e]/

/** @throws TypeError when a part would break the message: a fault of the gateway's own, never of the client's */
export function encodeRequestHead(head: RequestHead): string {
  if (UNSAFE.test(head.target) || UNSAFE.test(head.authority) || !isToken(head.method)) {
    throw new TypeError('request line is not safe to send')
  }
  const { headers, rules, replaced } = head
  const passed =
    replaced === null
      ? headers.derived.get(rules, all => passingLines(all, rules, null))
      : passingLines(headers, rules, replaced)
  let text = `${head.method} ${head.target} HTTP/1.1\r\nHost: ${head.authority}\r\n${passed}${head.ownLines}`
  if (head.framing === 'chunked') text += 'Transfer-Encoding: chunked\r\n'
  else if (head.framing !== 'none') text += `Content-Length: ${head.framing}\r\n`
  if (head.expectContinue) text += 'Expect: 100-continue\r\n'
  return `${text}\r\n`
}

/** The client's lines that may go on: neither the gateway's names nor what its Connection fields nominate (RFC 9110 §7.6.1). */
function passingLines(
  headers: RequestHeaders,
  { asserted, dropped }: PassageRules,
  replaced: ReadonlySet<string> | null,
): string {
  const nominated = connectionOptions(headers.getAll('connection'))
  const { lines, names } = headers
  const passed: string[] = []
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    if (name.owner !== 'end-to-end' || asserted.has(name.canonical) || dropped.has(name.lower)) continue
    if (nominated?.has(name.lower) || replaced?.has(name.canonical)) continue
    passed.push(`${lines[2 * i]}: ${lines[2 * i + 1]}\r\n`)
  }
  return passed.join('')
}

/**
 * One header line for `ownLines`.
 * @throws TypeError on a name that is no token or a value with control characters or beyond Latin-1
 */
export function fieldLine(name: string, value: string): string {
  if (!isToken(name) || !isFieldValue(value))
    throw new TypeError(`header ${JSON.stringify(name)} is not safe to send`)
  return `${name}: ${value}\r\n`
}
