/** Server-sent events (HTML Standard §9.2) as bytes: what a stream is, and where something may be put into it. */

const LF = 10
const CR = 13

/** Whether a Content-Type is that of an event stream. */
export function isEventStream(contentType: string | undefined): boolean {
  return contentType !== undefined && /^text\/event-stream\s*(?:;|$)/i.test(contentType)
}

/** A line that every reader skips. No empty line behind it: that would end an event that has begun. */
export const COMMENT = Buffer.from(':\n')

/** Follows the lines of a stream through chunks that pass untouched. */
export class EventFollower {
  /** The last bytes that passed, oldest first. At the beginning nothing has begun, as behind an empty line. */
  #last = LF
  #before = LF
  #third = 0

  follow(chunk: Buffer): void {
    const { length } = chunk
    if (length === 0) return
    const third = length > 2 ? chunk[length - 3]! : length === 2 ? this.#last : this.#before
    const before = length > 1 ? chunk[length - 2]! : this.#last
    this.#third = third
    this.#before = before
    this.#last = chunk[length - 1]!
  }

  /** A line has ended. Behind a CR it may be about to end. */
  get atLine(): boolean {
    return this.#last === LF
  }

  /** An event has ended, with its empty line. */
  get atEvent(): boolean {
    if (this.#last !== LF) return false
    return this.#before === LF || (this.#before === CR && this.#third === LF)
  }
}
