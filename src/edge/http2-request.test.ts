import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Http2RequestReader } from './http2-request.ts'

const PSEUDO = [':method', 'GET', ':scheme', 'https', ':authority', 'a.test', ':path', '/x?y']

function read(fields: readonly string[], ended = true) {
  return new Http2RequestReader().read(fields, ended)
}

describe('a header section of HTTP/2', () => {
  test('becomes a method, a path, and fields with a Host in front', () => {
    const message = read([...PSEUDO, 'accept', '*/*'])
    assert.equal(message.method, 'GET')
    assert.equal(message.path, '/x?y')
    assert.deepEqual(message.headers.lines, ['host', 'a.test', 'accept', '*/*'])
    assert.deepEqual(
      [message.knownScheme, message.twoHosts, message.tooLarge, message.unsafe],
      [true, false, false, false],
    )
  })

  test('with a Host that says the same has it once, with another it has two hosts', () => {
    assert.deepEqual(read([...PSEUDO, 'host', 'A.test']).headers.lines, ['host', 'a.test'])
    assert.equal(read([...PSEUDO, 'host', 'b.test']).twoHosts, true)
  })

  test('has its cookie in one piece, where its first crumb stood', () => {
    const { headers } = read([...PSEUDO, 'cookie', 'a=1', 'x-own', '1', 'cookie', 'b=2', 'cookie', 'c=3'])
    assert.deepEqual(headers.lines, ['host', 'a.test', 'cookie', 'a=1; b=2; c=3', 'x-own', '1'])
  })

  for (const [what, method, more, ended, framing] of [
    ['a GET that is whole', 'GET', [], true, 'none'],
    ['a GET that goes on', 'GET', [], false, 'chunked'],
    ['a POST that is whole', 'POST', [], true, 0],
    ['a POST that goes on', 'POST', [], false, 'chunked'],
    ['a POST with a length', 'POST', ['content-length', '7'], false, 7],
  ] as const) {
    test(`of ${what} says how long the body is: ${framing}`, () => {
      assert.equal(read([':method', method, ...PSEUDO.slice(2), ...more], ended).framing, framing)
    })
  }

  test('is too large beyond the 32 KiB of HTTP/1.1', () => {
    assert.equal(read([...PSEUDO, 'x-large', 'x'.repeat(32_000)]).tooLarge, false)
    assert.equal(read([...PSEUDO, 'x-large', 'x'.repeat(33_000)]).tooLarge, true)
    assert.equal(
      read([...PSEUDO, ...Array.from({ length: 8_000 }, (_, i) => (i % 2 ? '1' : 'x-small'))]).tooLarge,
      true,
    )
  })

  test('is not safe with anything that could end a line of text', () => {
    for (const fields of [
      [...PSEUDO, 'x-own', '1\r\nx: 2'],
      [...PSEUDO, 'x-own', '1\n'],
      [...PSEUDO, 'x-own', '\0'],
      [...PSEUDO, 'x own', '1'],
      [...PSEUDO, 'x-own:', '1'],
      [...PSEUDO.slice(0, 6), ':path', '/ HTTP/1.1\r\nx: 1'],
      [...PSEUDO.slice(0, 6), ':path', '/\xe9'],
      [':method', 'GET /', ...PSEUDO.slice(2)],
    ]) {
      assert.equal(read(fields).unsafe, true, JSON.stringify(fields))
    }
  })
})

describe('the sections of one connection', () => {
  test('are one object while they say the same, whatever path and method they come with', () => {
    const reader = new Http2RequestReader()
    const first = reader.read([...PSEUDO, 'accept', '*/*'], true)
    const other = [
      ':method',
      'HEAD',
      ':scheme',
      'https',
      ':authority',
      'a.test',
      ':path',
      '/other',
      'accept',
      '*/*',
    ]
    const second = reader.read(other, true)
    assert.equal(second.headers, first.headers)
    assert.deepEqual([second.method, second.path], ['HEAD', '/other'])
    assert.ok(Object.isFrozen(second.headers.lines))
  })

  test('are told apart by each name, each value, their number and the authority', () => {
    const reader = new Http2RequestReader()
    const sections = [
      [...PSEUDO, 'a', '1', 'b', '2'],
      [...PSEUDO, 'a', '1', 'b', '3'],
      [...PSEUDO, 'a', '1', 'c', '3'],
      [...PSEUDO, 'a', '1'],
      [...PSEUDO, 'a', '1', 'b', '2', 'c', '3'],
      [...PSEUDO.slice(0, 4), ':authority', 'b.test', ':path', '/', 'a', '1', 'b', '2'],
      [...PSEUDO.slice(0, 4), ':path', '/', 'a', '1', 'b', '2'],
      [...PSEUDO.slice(0, 4), ':path', '/', 'host', 'a.test', 'a', '1', 'b', '2'],
    ]
    for (const fields of [...sections, ...sections]) {
      assert.deepEqual(reader.read(fields, true).headers.lines, read(fields).headers.lines)
    }
  })

  test('are forgotten on demand', () => {
    const reader = new Http2RequestReader()
    const { headers } = reader.read(PSEUDO, true)
    reader.forget()
    assert.notEqual(reader.read(PSEUDO, true).headers, headers)
  })
})
