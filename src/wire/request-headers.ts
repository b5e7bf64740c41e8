import { type FieldLines, type FieldName, fieldName } from './fields.ts'

/** Results kept for one section: as many as there are routes that one client uses in turn. */
const MAX_DERIVED = 8

/** The header section of a request as it arrived: order, letter case and repetition kept. It never changes. */
export class RequestHeaders {
  readonly lines: Readonly<FieldLines>
  /** The name of each line, comparable; `names[i]` belongs to `lines[2 * i]`. */
  readonly names: readonly FieldName[]
  #derived: Map<object, unknown> | null = null

  constructor(lines: FieldLines) {
    this.lines = Object.freeze(lines)
    const names: FieldName[] = []
    for (let i = 0; i < lines.length; i += 2) names.push(fieldName(lines[i]!))
    this.names = Object.freeze(names)
  }

  /**
   * What `work` makes of this section and nothing else, worked out once: a client sends the same section again and
   * again (see request-parser.ts), and asking for what is known costs a hundredth of asking each field.
   * @param key the one who asks, and always with the same work
   */
  derive<T>(key: object, work: (headers: RequestHeaders) => T): T {
    const known = this.#derived?.get(key) as T | undefined
    if (known !== undefined) return known
    const result = work(this)
    if (this.#derived === null || this.#derived.size >= MAX_DERIVED) this.#derived = new Map()
    this.#derived.set(key, result)
    return result
  }

  /** The first value of a field, or undefined. `lower` is the lower-case name. */
  get(lower: string): string | undefined {
    for (let i = 0; i < this.names.length; i++) {
      if (this.names[i]!.lower === lower) return this.lines[2 * i + 1]
    }
    return undefined
  }

  /** Every value of a field, in order. */
  getAll(lower: string): string[] {
    const values: string[] = []
    for (let i = 0; i < this.names.length; i++) {
      if (this.names[i]!.lower === lower) values.push(this.lines[2 * i + 1]!)
    }
    return values
  }
}
