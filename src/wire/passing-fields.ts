/**
 * The one function that decides which of a client's fields go on to an upstream, whatever protocol that speaks. Each rule
 * against smuggling and spoofing stands here and nowhere else: connection fields stay behind, framing is the gateway's
 * own, and asserted names come only from the gateway.
 */

import { connectionOptions, type FieldLines } from './fields.ts'
import type { RequestHeaders } from './request-headers.ts'

/** What of a client's fields stays behind on a route. */
export interface PassageRules {
  /** Canonical names that only the gateway may send: the client's never pass. */
  readonly asserted: ReadonlySet<string>
  /** Lower-case names dropped on this route, such as `cookie`. */
  readonly dropped: ReadonlySet<string>
}

/**
 * The client's lines that may go on, with their names as they came: neither the gateway's names nor what its Connection
 * fields nominate (RFC 9110 §7.6.1).
 * @param replaced canonical names that a policy replaced or removed for this request, or null
 */
export function passingFields(
  headers: RequestHeaders,
  { asserted, dropped }: PassageRules,
  replaced: ReadonlySet<string> | null,
): FieldLines {
  const nominated = connectionOptions(headers.getAll('connection'))
  const { lines, names } = headers
  const passed: FieldLines = []
  for (let i = 0; i < names.length; i++) {
    const name = names[i]!
    if (name.owner !== 'end-to-end' || asserted.has(name.canonical) || dropped.has(name.lower)) continue
    if (nominated?.has(name.lower) || replaced?.has(name.canonical)) continue
    passed.push(lines[2 * i]!, lines[2 * i + 1]!)
  }
  return passed
}
