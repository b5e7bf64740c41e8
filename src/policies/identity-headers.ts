/** Tells the upstream who asks, in headers that nobody else can send (`wire/request-head.ts` strips the client's). */

import type { Policy } from '../exchange.ts'
import { claimAt } from '../identity/claims.ts'
import type { Identity } from '../identity/identity.ts'
import { fieldLine } from '../wire/request-head.ts'

export const IDENTITY_HEADERS = ['X-Company-ID', 'X-User-ID', 'X-User-Email'] as const

/** @param claimHeaders further headers and the paths of the claims they carry */
export function identityHeaders(claimHeaders: Readonly<Record<string, string>>): Policy {
  const mapped = Object.entries(claimHeaders).map(([name, path]) => ({ name, path: path.split('.') }))
  // Identities live in the token cache, so their lines are written once for each token and go when it goes.
  const lines = new WeakMap<Identity, string>()

  return function identityHeaders(exchange, next) {
    const { identity } = exchange
    if (identity === null) return next(exchange)
    let known = lines.get(identity)
    if (known === undefined) {
      known = linesFor(identity, mapped)
      lines.set(identity, known)
    }
    exchange.upstreamHeaders.append(known)
    return next(exchange)
  }
}

function linesFor(identity: Identity, mapped: readonly { name: string; path: readonly string[] }[]): string {
  let text = ''
  // Company and subject were checked to fit as they are (identity/claims.ts)
  if (identity.companyId !== null) text += fieldLine('X-Company-ID', identity.companyId)
  text += fieldLine('X-User-ID', identity.userId)
  if (identity.email !== null) text += fieldLine('X-User-Email', encodeText(identity.email))
  for (const { name, path } of mapped) {
    const value = claimText(claimAt(identity.claims, path))
    if (value !== null) text += fieldLine(name, value)
  }
  return text
}

/** Text and numbers as they are, lists joined by commas, objects as JSON; null for what is absent. */
function claimText(value: unknown): string | null {
  if (value === undefined || value === null) return null
  if (Array.isArray(value))
    return value.map(item => encodeText(scalarText(item)).replaceAll(',', '%2C')).join(',')
  return encodeText(scalarText(value))
}

function scalarText(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)
}

/**
 * Percent-encodes (as UTF-8) what a header value cannot carry as it is: controls, anything beyond ASCII, spaces at the
 * ends. `%` itself too, always, so that no two different texts arrive as the same one.
 */
export function encodeText(text: string): string {
  if (!/[^\x21-\x24\x26-\x7e]/.test(text)) return text
  const encoded = text.replace(/[^\x20-\x24\x26-\x7e]+/g, percentEncoded)
  let start = 0
  let end = encoded.length
  while (start < end && encoded[start] === ' ') start++
  while (end > start && encoded[end - 1] === ' ') end--
  return '%20'.repeat(start) + encoded.slice(start, end) + '%20'.repeat(encoded.length - end)
}

function percentEncoded(text: string): string {
  let result = ''
  for (const byte of Buffer.from(text, 'utf8')) {
    result += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return result
}
