/** Header sections of answers over HTTP/2: what may stand in them, in the form that the frame writer takes. */

import { sensitiveHeaders } from 'node:http2'
import { type FieldLines, fieldName, isFieldValue } from './fields.ts'
import { RememberedFields } from './remembered-fields.ts'

export interface Http2AnswerStart {
  readonly status: number
  /** End-to-end fields. Connection and framing fields in it do not pass: they are not a policy's to say. */
  readonly fields: FieldLines
  /** Bytes of the body, where that is known; -1: it is not, or there is none to speak of. */
  readonly contentLength: number
  /** Fields of the gateway itself, with names in lower case. */
  readonly own: FieldLines
}

/** Different in each answer: kept out of the table of fields that come again. */
const NEVER_THE_SAME = ['x-request-id', 'x-process-time']

/** Flat, pseudo-field first. */
export type Http2Fields = string[]

/**
 * @returns the section, for `respond`, which adds a date where there is none
 * @throws TypeError on a status, name or value that no message can carry
 */
export function encodeHttp2Answer({ status, fields, contentLength, own }: Http2AnswerStart): Http2Fields {
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw new TypeError(`${status} is no final status`)
  const section: Http2Fields = [':status', String(status), ...passing.of(fields)]
  if (contentLength >= 0) section.push('content-length', String(contentLength))
  section.push(...own)
  ;(section as unknown as Record<symbol, readonly string[]>)[sensitiveHeaders] = NEVER_THE_SAME
  return section
}

/** The same for the same fields, as in wire/response-head.ts. */
const passing = new RememberedFields(check)

function check(fields: FieldLines): string[] {
  const passed: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    const value = fields[i + 1]!
    const name = fieldName(fields[i]!)
    if (!name.isToken || !isFieldValue(value))
      throw new TypeError(`header ${JSON.stringify(fields[i])} is not safe to send`)
    // RFC 9113 §8.2.2: a message with connection fields in it is malformed
    if (name.owner === 'hop' || name.lower === 'content-length') continue
    passed.push(name.lower, value)
  }
  return passed
}

/** Trailers, or a section of a 1xx answer: as an object, the one form that is taken for these. */
export function http2FieldObject(fields: FieldLines): Record<string, string[]> {
  const section = Object.create(null) as Record<string, string[]>
  for (let i = 0; i < fields.length; i += 2) {
    const name = fieldName(fields[i]!)
    if (!name.isToken || !isFieldValue(fields[i + 1]!) || name.owner !== 'end-to-end') continue
    section[name.lower] ??= []
    section[name.lower]!.push(fields[i + 1]!)
  }
  return section
}
