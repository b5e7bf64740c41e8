/** Answers as a client reads them from one connection, one behind the other, each ended as its own head says. */

import assert from 'node:assert/strict'

export interface FramedAnswer {
  readonly status: number
  /** Without the empty line. */
  readonly head: string
  readonly body: string
  /** Trailer section, or ''. */
  readonly trailer: string
  /** Its end is the end of the connection. */
  readonly untilClose: boolean
  values(name: string): string[]
}

export interface FramedAnswers {
  readonly answers: readonly FramedAnswer[]
  /** What stands behind the last whole answer. */
  readonly rest: string
}

/**
 * Strict where it matters: what is no status line where an answer should begin fails.
 * @param methods of the requests, in order: answers to HEAD have no body
 */
export function framedAnswers(text: string, methods: readonly string[] = []): FramedAnswers {
  const answers: FramedAnswer[] = []
  let rest = text
  let final = 0
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) break
    const head = rest.slice(0, end)
    const [, digits] = /^HTTP\/1\.1 (\d{3}) [^\r\n]+(?:\r\n|$)/.exec(head) ?? []
    assert.ok(digits !== undefined, `no answer begins with ${JSON.stringify(rest.slice(0, 200))}`)
    const status = Number(digits)
    const lines = head.split('\r\n').slice(1)
    const values = (name: string): string[] =>
      lines
        .filter(line => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
        .map(line => line.slice(name.length + 1).trim())
    const bodiless = status < 200 || status === 204 || status === 304 || methods[final] === 'HEAD'
    const content = bodiless
      ? { body: '', trailer: '', length: 0, untilClose: false }
      : bodyOf(rest.slice(end + 4), values)
    if (content === null) break
    const { length, ...found } = content
    answers.push({ status, head, values, ...found })
    if (status >= 200) final++
    rest = rest.slice(end + 4 + length)
  }
  return { answers, rest }
}

interface Content {
  readonly body: string
  readonly trailer: string
  /** On the wire. */
  readonly length: number
  readonly untilClose: boolean
}

/** Null when it has not all arrived. */
function bodyOf(text: string, values: (name: string) => string[]): Content | null {
  const [length, ...others] = values('content-length')
  const coding = values('transfer-encoding')
  assert.equal(others.length, 0, 'several Content-Length')
  if (coding.length > 0) {
    assert.deepEqual([coding, length], [['chunked'], undefined])
    return chunkedBodyOf(text)
  }
  if (length === undefined) return { body: text, trailer: '', length: text.length, untilClose: true }
  if (text.length < Number(length)) return null
  return { body: text.slice(0, Number(length)), trailer: '', length: Number(length), untilClose: false }
}

function chunkedBodyOf(text: string): Content | null {
  let body = ''
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd === -1) return null
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    if (size === 0) {
      const end = text.indexOf('\r\n\r\n', lineEnd)
      if (end === -1) return null
      return { body, trailer: text.slice(lineEnd + 2, end), length: end + 4, untilClose: false }
    }
    const data = text.slice(lineEnd + 2, lineEnd + 2 + size)
    if (text.length < lineEnd + 4 + size) return null
    assert.equal(text.slice(lineEnd + 2 + size, lineEnd + 4 + size), '\r\n')
    body += data
    at = lineEnd + 4 + size
  }
}
