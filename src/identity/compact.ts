/** The parts of a token in compact serialization, RFC 7515 §7.1: base64url without padding, and nothing else. */

import { isUtf8 } from 'node:buffer'

/** A leading byte order mark is skipped, as every reader of JSON may (RFC 8259 §8.1). */
const UTF8 = new TextDecoder()

/** The header as JSON gave it, or null when it is not an object. */
export function parseHeader(encoded: string): Readonly<Record<string, unknown>> | null {
  const bytes = decodePart(encoded, Buffer.allocUnsafe(encoded.length))
  const header = bytes === null ? null : parseJson(bytes)
  if (typeof header !== 'object' || header === null || Array.isArray(header)) return null
  return header as Readonly<Record<string, unknown>>
}

/** The value of JSON in UTF-8, or undefined. */
export function parseJson(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) return undefined
  try {
    return JSON.parse(UTF8.decode(bytes))
  } catch {
    return undefined
  }
}

/**
 * Decodes a part.
 * @returns the bytes at the start of `into`, or null when the part is not the one encoding of its bytes
 */
export function decodePart(part: string, into: Buffer): Buffer | null {
  const bytes = into.subarray(0, into.write(part, 'base64url'))
  // The decoder skips or bends what it does not know. What encodes to the same text again was nothing of the kind:
  // no other character, no padding, no stray bits at the end (RFC 4648 §3.5). A quarter of a regular expression's time.
  return bytes.toString('base64url') === part ? bytes : null
}
