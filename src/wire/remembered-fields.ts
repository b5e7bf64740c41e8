import type { FieldLines } from './fields.ts'

/** As many as there are kinds of answers that come by in turn. */
const MAX_REMEMBERED = 8
/** Longer ones are not worth keeping. */
const MAX_REMEMBERED_FIELDS = 64

/**
 * What was made of the fields of an answer. Like answers have the same texts in their fields, not only equal ones (see
 * response-parser.ts), so that to find the last one costs a few comparisons of addresses.
 */
export class RememberedFields<T> {
  readonly #make: (fields: FieldLines) => T
  readonly #known: { readonly fields: FieldLines; readonly made: T }[] = []
  #next = 0

  /** @param make may throw: then nothing is remembered */
  constructor(make: (fields: FieldLines) => T) {
    this.#make = make
  }

  of(fields: FieldLines): T {
    for (const known of this.#known) if (sameTexts(known.fields, fields)) return known.made
    const made = this.#make(fields)
    if (fields.length <= MAX_REMEMBERED_FIELDS) {
      this.#known[this.#next] = { fields: fields.slice(), made }
      this.#next = (this.#next + 1) % MAX_REMEMBERED
    }
    return made
  }
}

function sameTexts(a: FieldLines, b: FieldLines): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
