import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { encodeHttp2Answer, http2FieldObject } from './http2-fields.ts'

const answer = (fields: string[], contentLength = -1, status = 200): string[] => [
  ...encodeHttp2Answer({ status, fields, contentLength, own: ['x-request-id', 'id'] }),
]

describe('the header section of an answer over HTTP/2', () => {
  test('has the status in front, names in lower case, the length, and the own fields behind', () => {
    assert.deepEqual(answer(['Content-Type', 'a/b', 'Set-Cookie', '1', 'Set-Cookie', '2'], 3), [
      ...[':status', '200', 'content-type', 'a/b', 'set-cookie', '1', 'set-cookie', '2'],
      ...['content-length', '3', 'x-request-id', 'id'],
    ])
  })

  test('has no fields of a connection, and no length but that of the body', () => {
    const fields = [
      'Connection',
      'x',
      'Keep-Alive',
      '1',
      'Transfer-Encoding',
      'chunked',
      'Content-Length',
      '9',
    ]
    assert.deepEqual(answer([...fields, 'Upgrade', 'x', 'Proxy-Connection', 'x', 'TE', 'gzip']), [
      ...[':status', '200', 'x-request-id', 'id'],
    ])
  })

  test('is made anew when anything in it differs', () => {
    const fields = ['A', '1', 'B', '2']
    const first = answer(fields)
    assert.deepEqual(answer([...fields]), first)
    assert.notDeepEqual(answer(['A', '1', 'B', '3']), first)
    assert.notDeepEqual(answer(['A', '1']), first)
    fields.push('C', '3')
    assert.deepEqual(answer(fields).slice(2, -2), ['a', '1', 'b', '2', 'c', '3'])
    assert.deepEqual(answer(['A', '1', 'B', '2']), first)
  })

  test('is refused with what no message can carry', () => {
    for (const fields of [
      ['X', 'a\r\nb'],
      ['X', '\0'],
      ['X', '\u{100}'],
      ['X Y', '1'],
      ['', '1'],
    ]) {
      assert.throws(() => answer(fields), TypeError)
    }
    for (const status of [101, 199, 600, 200.5, Number.NaN]) {
      assert.throws(() => answer([], -1, status), TypeError)
    }
  })
})

test('trailers keep what is end-to-end and fit to be sent', () => {
  const fields = ['Grpc-Status', '0', 'X', '1', 'x', '2', 'Connection', 'x', 'Bad', 'a\nb', '__proto__', '1']
  const section = http2FieldObject(fields)
  assert.deepEqual(Object.entries(section), [
    ['grpc-status', ['0']],
    ['x', ['1', '2']],
    ['__proto__', ['1']],
  ])
})
