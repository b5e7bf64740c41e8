const CAPACITY = 65_536
/** Bytes that a UTF-16 unit takes in UTF-8, at the most. */
const WORST = 3

/**
 * Lines that leave together. Each is encoded when it comes, while its pieces are at hand: joined as texts, they would be
 * walked through again much later, piece by piece out of cold memory (3 % of a small request).
 */
export class LineBatch {
  readonly #bytes = Buffer.allocUnsafeSlow(CAPACITY)
  #length = 0

  get empty(): boolean {
    return this.#length === 0
  }

  /** There is room for any line of this length. */
  fits(line: string): boolean {
    return line.length * WORST <= CAPACITY - this.#length
  }

  add(line: string): void {
    this.#length += this.#bytes.write(line, this.#length, 'utf8')
  }

  /** All lines so far; the batch is empty then. */
  take(): string {
    const lines = this.#bytes.toString('utf8', 0, this.#length)
    this.#length = 0
    return lines
  }
}
