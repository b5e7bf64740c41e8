/** What every answer of the gateway's own making must look like. */

import assert from 'node:assert/strict'

export interface ParsedAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
  values(name: string): string[]
}

/** The first final answer of a raw text; 1xx before it are skipped. */
export function parseAnswer(text: string): ParsedAnswer {
  const end = text.indexOf('\r\n\r\n')
  assert.notEqual(end, -1, `no answer head in ${JSON.stringify(text.slice(0, 200))}`)
  const head = text.slice(0, end)
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1] ?? 0)
  if (status >= 100 && status < 200) return parseAnswer(text.slice(end + 4))
  const lines = head.split('\r\n').slice(1)
  return {
    status,
    head,
    body: text.slice(end + 4),
    values: name =>
      lines
        .filter(line => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
        .map(line => line.slice(name.length + 1).trim()),
  }
}

/** Asserts a whole problem document with one of `statuses` and the fields that every answer carries. */
export function assertProblem(text: string, statuses: readonly number[]): ParsedAnswer {
  const answer = parseAnswer(text)
  assert.ok(
    statuses.includes(answer.status),
    `expected ${statuses.join('/')}: ${answer.head}\n${answer.body}`,
  )
  assert.match(answer.values('content-type').join(), /^application\/problem\+json/)
  assert.equal(answer.values('x-request-id').length, 1, `no X-Request-ID: ${answer.head}`)
  assert.match(answer.values('x-process-time').join(), /^\d+\.\d+$/, `no X-Process-Time: ${answer.head}`)
  const length = Number(answer.values('content-length')[0])
  assert.equal(answer.body.length >= length, true, `cut short: ${answer.body}`)
  const problem = JSON.parse(answer.body.slice(0, length)) as Record<string, unknown>
  assert.equal(problem.status, answer.status)
  for (const field of ['type', 'title', 'detail', 'code', 'request_id']) {
    assert.equal(typeof problem[field], 'string', `${field} in ${answer.body}`)
  }
  assert.equal(problem.request_id, answer.values('x-request-id')[0])
  return answer
}
