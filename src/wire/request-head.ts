/**
 * The one function that writes request heads for upstreams of HTTP/1.1. What of a client's fields goes on is decided in
 * passing-fields.ts; framing is the gateway's own, and nothing with a line break in it gets out.
 */

import { isFieldValue, isToken } from './fields.ts'
import { type PassageRules, passingFields } from './passing-fields.ts'
import type { RequestHeaders } from './request-headers.ts'

export type { PassageRules }

/** `none`, or the number of bytes that follow, or `chunked`. */
export type RequestFraming = 'none' | 'chunked' | number

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

/** @throws TypeError when what stands in front of the fields would break the message */
export function checkRequestLine({
  method,
  target,
  authority,
}: Pick<RequestHead, 'method' | 'target' | 'authority'>): void {
  if (UNSAFE.test(target) || UNSAFE.test(authority) || !isToken(method)) {
    throw new TypeError('request line is not safe to send')
  }
}

/**
 * @param upgrade ask the upstream for a WebSocket (RFC 9110 §7.8)
 * @throws TypeError when a part would break the message: a fault of the gateway's own, never of the client's
 */
export function encodeRequestHead(head: RequestHead, upgrade = false): string {
  checkRequestLine(head)
  const { headers, rules, replaced } = head
  const passed =
    replaced === null
      ? headers.derived.get(rules, all => passingLines(all, rules, null))
      : passingLines(headers, rules, replaced)
  let text = `${head.method} ${head.target} HTTP/1.1\r\nHost: ${head.authority}\r\n${passed}${head.ownLines}`
  if (upgrade) text += 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
  else if (head.framing === 'chunked') text += 'Transfer-Encoding: chunked\r\n'
  else if (head.framing !== 'none') text += `Content-Length: ${head.framing}\r\n`
  if (head.expectContinue) text += 'Expect: 100-continue\r\n'
  return `${text}\r\n`
}

function passingLines(
  headers: RequestHeaders,
  rules: PassageRules,
  replaced: ReadonlySet<string> | null,
): string {
  const fields = passingFields(headers, rules, replaced)
  let lines = ''
  for (let i = 0; i < fields.length; i += 2) lines += `${fields[i]}: ${fields[i + 1]}\r\n`
  return lines
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
