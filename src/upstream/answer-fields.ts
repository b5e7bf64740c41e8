/** The header fields of an upstream's answer on their way to the client: which of them pass, and what they say there. */

import type { Exchange } from '../exchange.ts'
import { connectionOptions, type FieldLines, fieldName, HOP_BY_HOP } from '../wire/fields.ts'
import { LOCATION_FIELDS, type LocationMapper } from './location.ts'

/** What of an answer's fields passes: the same for every answer with the same head. */
export interface PassableFields {
  readonly lines: readonly string[]
  /** Where in `lines` the values of `LOCATION_FIELDS` stand. */
  readonly locations: readonly number[]
}

const NOWHERE: readonly number[] = []

/** End-to-end fields that the gateway does not write itself. `replaced`: lower-case names of those that it does. */
export function passable(fields: readonly string[], replaced: ReadonlySet<string>): PassableFields {
  const nominated = nominatedBy(fields)
  const lines: FieldLines = []
  let locations: number[] | null = null
  for (let i = 0; i < fields.length; i += 2) {
    const { lower } = fieldName(fields[i]!)
    if (HOP_BY_HOP.has(lower) || replaced.has(lower) || nominated?.has(lower)) continue
    if (LOCATION_FIELDS.has(lower)) {
      locations ??= []
      locations.push(lines.length + 1)
    }
    lines.push(fields[i]!, fields[i + 1]!)
  }
  return { lines, locations: locations ?? NOWHERE }
}

/** A copy for one client, which policies may change. */
export function fieldsFor(
  exchange: Exchange,
  status: number,
  { lines, locations }: PassableFields,
  map: LocationMapper,
): FieldLines {
  const copy = lines.slice()
  for (const at of locations) copy[at] = map(copy[at]!, exchange, status)
  return copy
}

/** Lower-case names that an answer's Connection fields keep to this hop, or null. */
function nominatedBy(fields: readonly string[]): ReadonlySet<string> | null {
  const values: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    if (fieldName(fields[i]!).lower === 'connection') values.push(fields[i + 1]!)
  }
  return values.length === 0 ? null : connectionOptions(values)
}
