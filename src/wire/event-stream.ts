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

/** Longest event that is remembered; what says how a stream went is short. */
const MAX_EVENT = 65_536

/** Remembers the data of the last event of a stream that holds an object of JSON. What closes a stream by a word does not. */
export class LastEvent {
  /** Bytes as Latin-1, one character each. */
  #line = ''
  #data = ''
  #last = ''
  /** The line, or the event, is too long to be remembered. */
  #skips = false

  follow(chunk: Buffer): void {
    const lines = (this.#line + chunk.toString('latin1')).split(/\r\n|\n|\r(?!$)/)
    this.#line = lines.pop()!
    for (const line of lines) this.#take(line)
    if (this.#line.length <= MAX_EVENT) return
    this.#line = ''
    this.#skips = true
  }

  /** That event's data; '' where there was none. Nothing is remembered then. */
  take(): string {
    this.#take(this.#line)
    this.#dispatch()
    const last = Buffer.from(this.#last, 'latin1').toString('utf8')
    this.#line = ''
    this.#last = ''
    return last
  }

  #take(line: string): void {
    if (line === '') return this.#dispatch()
    if (this.#skips || !line.startsWith('data:')) return
    this.#data += `${this.#data === '' ? '' : '\n'}${line.slice(line[5] === ' ' ? 6 : 5)}`
    this.#skips = this.#data.length > MAX_EVENT
  }

  #dispatch(): void {
    if (!this.#skips && this.#data.startsWith('{')) this.#last = this.#data
    this.#data = ''
    this.#skips = false
  }
}
