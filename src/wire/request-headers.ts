import { Derived } from './derived.ts'
import { type FieldLines, type FieldName, fieldName } from './fields.ts'

/** The header section of a request as it arrived: order, letter case and repetition kept. It never changes. */
export class RequestHeaders {
  readonly lines: Readonly<FieldLines>
  /** The name of each line, comparable; `names[i]` belongs to `lines[2 * i]`. */
  readonly names: readonly FieldName[]
  readonly derived = new Derived<RequestHeaders>(this)

  constructor(lines: FieldLines) {
    this.lines = lines
    const names: FieldName[] = []
    for (let i = 0; i < lines.length; i += 2) names.push(fieldName(lines[i]!))
    this.names = names
  }

  /** Before it stands for more than one request: nobody may change what the next one finds. */
  freeze(): void {
    Object.freeze(this.lines)
    Object.freeze(this.names)
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
