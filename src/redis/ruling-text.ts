/** What was said of somebody, as it lies in Redis: `<moment> <JSON>` under `<kind>:<id>`. */

import { parseNetwork } from '../store/addresses.ts'
import { BLOCK_KINDS, type BlockKind, keyOf, MAX_ID_LENGTH, type Ruling } from '../store/block.ts'
import { isOver } from '../workers/blocking.ts'
import type { EntryForm } from './shared-book.ts'

export const RULING_FORM: EntryForm<Ruling> = {
  name: 'blocks',
  nameOf: keyOf,
  write: writeRuling,
  read: readRuling,
  isOver,
  isNews: ({ at }, known) => at > known.at,
}

export function writeRuling({ at, block }: Ruling): string {
  if (block === null) return `${at} null`
  const { reason, until } = block
  return `${at} ${JSON.stringify({ reason, until: until === Number.POSITIVE_INFINITY ? null : until })}`
}

/** @returns null for what no gateway has written, or one of another time */
export function readRuling(name: string, text: string): Ruling | null {
  const [, kindName = '', id = ''] = /^([a-z]+):(.+)$/s.exec(name) ?? []
  const [, moment = '', json = ''] = /^(\d{1,15}) (.+)$/s.exec(text) ?? []
  const kind = kindName as BlockKind
  if (!BLOCK_KINDS.includes(kind) || id.length > MAX_ID_LENGTH || moment === '') return null
  // Another form of the same would be another block here.
  if (kind === 'ip' && !isCanonical(id)) return null
  const at = Number(moment)
  const said = jsonOf(json)
  if (said === null) return { kind, id, at, block: null }
  if (typeof said !== 'object') return null
  const { reason, until } = said as Record<string, unknown>
  if (reason !== null && typeof reason !== 'string') return null
  if (until !== null && typeof until !== 'number') return null
  return { kind, id, at, block: { kind, id, reason, since: at, until: until ?? Number.POSITIVE_INFINITY } }
}

function isCanonical(id: string): boolean {
  const network = parseNetwork(id)
  return typeof network !== 'string' && network.text === id
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
