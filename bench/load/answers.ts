const CRLF = '\r\n'
const HEAD_END = Buffer.from(`${CRLF}${CRLF}`)

/**
 * Tells apart the answers that arrive on one connection, and gives the status of each. Only what the measured
 * answers are is understood: HTTP/1.1 with Content-Length; anything else is an error, since it was not agreed on.
 */
export class Answers {
  readonly #onAnswer: (status: number, body: Buffer) => void
  #kept: Buffer | null = null

  constructor(onAnswer: (status: number, body: Buffer) => void) {
    this.#onAnswer = onAnswer
  }

  push(chunk: Buffer): void {
    let rest = this.#kept === null ? chunk : Buffer.concat([this.#kept, chunk])
    this.#kept = null
    while (rest.length > 0) {
      const headEnd = rest.indexOf(HEAD_END)
      if (headEnd === -1) break
      const head = rest.toString('latin1', 0, headEnd)
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
      if (length === undefined) throw new Error(`an answer without Content-Length: ${head}`)
      const end = headEnd + 4 + Number(length)
      if (rest.length < end) break
      this.#onAnswer(Number(head.slice(9, 12)), rest.subarray(headEnd + 4, end))
      rest = rest.subarray(end)
    }
    if (rest.length > 0) this.#kept = rest
  }
}
