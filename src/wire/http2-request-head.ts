/**
 * The one function that writes request heads for upstreams of HTTP/2 (RFC 9113 §8.3): the same facts as in HTTP/1.1, as
 * a flat list of lower-case names and values. What of a client's fields goes on is decided in passing-fields.ts.
 */

import { sensitiveHeaders } from 'node:http2'
import { type FieldLines, fieldName, isFieldValue } from './fields.ts'
import { type PassageRules, passingFields } from './passing-fields.ts'
import { checkRequestLine, type RequestHead } from './request-head.ts'
import type { RequestHeaders } from './request-headers.ts'

export interface Http2RequestHead extends RequestHead {
  readonly scheme: 'http' | 'https'
}

/** @throws TypeError when a part would break the message: a fault of the gateway's own, never of the client's */
export function http2RequestHead(head: Http2RequestHead): FieldLines {
  checkRequestLine(head)
  const { headers, rules, replaced, framing } = head
  const { method, scheme, authority, target } = head
  const fields = [':method', method, ':scheme', scheme, ':authority', authority, ':path', target]
  const passed =
    replaced === null
      ? headers.derived.get(keyOf(rules), all => fieldsOf(all, rules, null))
      : fieldsOf(headers, rules, replaced)
  for (const part of passed) fields.push(part)
  pushLines(fields, head.ownLines)
  if (typeof framing === 'number') fields.push('content-length', String(framing))
  if (head.expectContinue) fields.push('expect', '100-continue')
  ;(fields as unknown as Record<symbol, readonly string[]>)[sensitiveHeaders] = NEVER_THE_SAME
  return fields
}

/** Kept out of the table of fields that come again, where each would push one out that does (RFC 7541 §6.2.3). */
const NEVER_THE_SAME = ['x-request-id']

/** Under the rules themselves HTTP/1.1 keeps its lines. */
const keys = new WeakMap<PassageRules, object>()

function keyOf(rules: PassageRules): object {
  let key = keys.get(rules)
  if (key === undefined) {
    key = {}
    keys.set(rules, key)
  }
  return key
}

/**
 * The client's fields that go on. `TE` belongs to one connection, except for its `trailers`, which this one understands
 * as well (RFC 9113 §8.2.2), and without which servers of gRPC refuse to talk.
 */
function fieldsOf(
  headers: RequestHeaders,
  rules: PassageRules,
  replaced: ReadonlySet<string> | null,
): FieldLines {
  const fields = passingFields(headers, rules, replaced)
  for (let i = 0; i < fields.length; i += 2) {
    const { lower, isToken } = fieldName(fields[i]!)
    if (!isToken || !isFieldValue(fields[i + 1]!)) throw new TypeError('a field is not safe to send')
    fields[i] = lower
  }
  const te = headers.getAll('te').join().toLowerCase().split(',')
  if (te.some(option => option.trim() === 'trailers')) fields.push('te', 'trailers')
  return fields
}

/** Lines that the gateway wrote, taken apart again. */
function pushLines(fields: FieldLines, lines: string): void {
  for (let at = 0; at < lines.length; ) {
    const colon = lines.indexOf(': ', at)
    const end = lines.indexOf('\r\n', colon)
    fields.push(fieldName(lines.slice(at, colon)).lower, lines.slice(colon + 2, end))
    at = end + 2
  }
}
