import { isDeepStrictEqual } from 'node:util'

export interface Difference {
  /** Keys joined by dots. */
  readonly place: string
  readonly before: unknown
  readonly after: unknown
}

type Section = Record<string, unknown>

export interface Comparison {
  /** Whether values that differ are told apart key by key, on both sides. */
  readonly isSection: (value: unknown, place: string) => value is Section
  /** Whether they count as the same; default: nothing that differs does. */
  readonly isSame?: (before: unknown, after: unknown) => boolean
}

/** What differs between two values, as deep down as `isSection` says. */
export function differencesOf(
  before: unknown,
  after: unknown,
  comparison: Comparison,
  place = '',
): Difference[] {
  const { isSection, isSame } = comparison
  if (isDeepStrictEqual(before, after) || isSame?.(before, after)) return []
  if (!isSection(before, place) || !isSection(after, place)) return [{ place, before, after }]
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].flatMap(key =>
    differencesOf(before[key], after[key], comparison, place === '' ? key : `${place}.${key}`),
  )
}
