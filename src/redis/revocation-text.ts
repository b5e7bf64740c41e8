/** What is known of whose tokens are refused, as it lies in Redis: JSON under `<kind>:<id>`. */

import { keyOf } from '../store/block.ts'
import { isOver, isSame, isTellable, join, type Revocation, type RevokedKind } from '../store/revocation.ts'
import type { EntryForm } from './shared-book.ts'

export const REVOCATION_FORM: EntryForm<Revocation> = {
  name: 'revocations',
  nameOf: keyOf,
  write: writeRevocation,
  read: readRevocation,
  isOver,
  isNews: (revocation, known) => !isSame(join(revocation, known), known),
}

const KINDS: readonly RevokedKind[] = ['session', 'user']

export function writeRevocation({ upTo, spared, floor, restored, until }: Revocation): string {
  return JSON.stringify({ upTo, ...(spared === null ? {} : { spared, floor }), restored, until })
}

/** @returns null for what no gateway has written, or one of another time */
export function readRevocation(name: string, text: string): Revocation | null {
  const [, kindName = '', id = ''] = /^([a-z]+):(.+)$/s.exec(name) ?? []
  const kind = kindName as RevokedKind
  if (!KINDS.includes(kind) || !isTellable(id)) return null
  const said = objectOf(text)
  if (said === null) return null
  const { upTo, restored, until, spared = null, floor = 0 } = said
  if (!isMoment(upTo) || !isMoment(restored) || !isMoment(until) || !isMoment(floor)) return null
  if (spared === null) return { kind, id, upTo, spared, floor: 0, restored, until }
  if (kind !== 'user' || typeof spared !== 'string' || !isTellable(spared) || floor >= upTo) return null
  return { kind, id, upTo, spared, floor, restored, until }
}

const isMoment = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function objectOf(text: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(text) as unknown
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}
