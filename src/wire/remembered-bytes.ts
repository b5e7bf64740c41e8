/** Longer ones are seldom the same again, and would be held for as long as the connection. */
const MAX_LENGTH = 4_096

/** A piece of a message that came last, to be recognised without decoding it. */
export class RememberedBytes {
  #bytes: Buffer | null = null
  #length = 0

  /** They stand at `start` again. One comparison of memory: 50 ns for 500 bytes. */
  standAt(bytes: Buffer, start: number, end: number): boolean {
    const length = this.#length
    return (
      this.#bytes !== null &&
      length > 0 &&
      end - start >= length &&
      bytes.compare(this.#bytes, 0, length, start, start + length) === 0
    )
  }

  get length(): number {
    return this.#length
  }

  forget(): void {
    this.#bytes = null
    this.#length = 0
  }

  /** Keeps a copy. @returns false when there are too many of them; then none are kept */
  keep(bytes: Buffer, start: number, end: number): boolean {
    this.#length = 0
    const length = end - start
    if (length <= 0 || length > MAX_LENGTH) return false
    if (this.#bytes === null || this.#bytes.length < length) this.#bytes = Buffer.allocUnsafeSlow(length)
    bytes.copy(this.#bytes, 0, start, end)
    this.#length = length
    return true
  }
}
