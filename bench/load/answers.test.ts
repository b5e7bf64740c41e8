import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Answers } from './answers.ts'

const stream = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello' +
    'HTTP/1.1 401 Unauthorized\r\nx: y\r\ncontent-length:0\r\n\r\n' +
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
)

function read(chunks: Buffer[]): [number, string][] {
  const seen: [number, string][] = []
  const answers = new Answers((status, body) => seen.push([status, body.toString()]))
  for (const chunk of chunks) answers.push(chunk)
  return seen
}

test('answers are told apart wherever the stream is cut', () => {
  for (let cut = 0; cut <= stream.length; cut++) {
    const seen = read([stream.subarray(0, cut), stream.subarray(cut)])
    assert.deepEqual(
      seen,
      [
        [200, 'hello'],
        [401, ''],
        [200, 'ok'],
      ],
      `cut at ${cut}`,
    )
  }
})

test('an answer that never ends is none', () => {
  assert.deepEqual(read([Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell')]), [])
})

test('an answer of unknown length is an error', () => {
  assert.throws(
    () => read([Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')]),
    /Content-Length/,
  )
})
