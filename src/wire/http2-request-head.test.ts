import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Http2RequestHead, http2RequestHead } from './http2-request-head.ts'
import { encodeRequestHead, fieldLine } from './request-head.ts'
import { RequestHeaders } from './request-headers.ts'

const OWN = fieldLine('X-Company-ID', 'own') + fieldLine('Forwarded', 'for=a;host="b: c"')

function headOf(lines: string[], over: Partial<Http2RequestHead> = {}): Http2RequestHead {
  return {
    method: 'POST',
    scheme: 'http',
    target: '/a?b=c',
    authority: 'upstream:8000',
    headers: new RequestHeaders(lines),
    rules: { asserted: new Set(['x-company-id']), dropped: new Set(['cookie']) },
    replaced: null,
    ownLines: OWN,
    framing: 'none',
    expectContinue: false,
    ...over,
  }
}

const pairs = (fields: readonly string[]): [string, string][] =>
  fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]!] as [string, string]] : []))

describe('the request head for an upstream of HTTP/2', () => {
  test('has its pseudo-fields first, and all names in lower case', () => {
    const fields = http2RequestHead(headOf(['Accept', '*/*', 'X-Tag', 'a', 'x-tag', 'b'], { framing: 5 }))
    assert.deepEqual(pairs(fields), [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':authority', 'upstream:8000'],
      [':path', '/a?b=c'],
      ['accept', '*/*'],
      ['x-tag', 'a'],
      ['x-tag', 'b'],
      ['x-company-id', 'own'],
      ['forwarded', 'for=a;host="b: c"'],
      ['content-length', '5'],
    ])
  })

  test('says what that of HTTP/1.1 says, of whatever a client sends', () => {
    const name = fc.constantFrom(
      ...['Accept', 'X-Company-ID', 'x_company.id', 'Cookie', 'X-Replaced', 'X-Nominated', 'Host', 'Te'],
      ...[
        'Connection',
        'Keep-Alive',
        'Upgrade',
        'Transfer-Encoding',
        'Content-Length',
        'Expect',
        'HTTP2-Settings',
      ],
      ...['Proxy-Connection', 'X-Forwarded-For', 'Forwarded', 'X-Request-ID', 'Q!#$%', 'grpc-timeout'],
    )
    const value = fc.constantFrom('a', 'x-nominated', 'X-Tag, close', '5', 'caf\xe9', '')
    const line = fc.tuple(name, value)
    const replaced = fc.constantFrom(null, new Set(['x-replaced']))
    const framing = fc.constantFrom('none' as const, 'chunked' as const, 0, 17)
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 12 }),
        replaced,
        framing,
        fc.boolean(),
        (lines, replaced, framing, expectContinue) => {
          const head = headOf(lines.flat(), { replaced, framing, expectContinue })
          const [, , ...older] = encodeRequestHead(head).slice(0, -4).split('\r\n')
          const expected = older
            .map(text => [
              text.slice(0, text.indexOf(': ')).toLowerCase(),
              text.slice(text.indexOf(': ') + 2),
            ])
            .filter(([name]) => name !== 'transfer-encoding')
          assert.deepEqual(pairs(http2RequestHead(head)).slice(4), expected)
        },
      ),
    )
  })

  test('keeps of TE what this protocol allows', () => {
    for (const [lines, kept] of [
      [['TE', 'trailers'], true],
      [['TE', 'gzip, Trailers'], true],
      [['TE', 'gzip', 'te', 'trailers'], true],
      [['TE', 'gzip'], false],
      [['TE', 'trailers;q=0.5x'], false],
      [[], false],
    ] as const) {
      const found = pairs(http2RequestHead(headOf([...lines]))).filter(([name]) => name === 'te')
      assert.deepEqual(found, kept ? [['te', 'trailers']] : [], lines.join())
    }
  })

  test('is the same for the same rules, and not mistaken for that of HTTP/1.1', () => {
    const head = headOf(['Accept', '*/*', 'Cookie', 'a'])
    const first = http2RequestHead(head)
    const text = encodeRequestHead(head)
    assert.deepEqual(http2RequestHead(head), first)
    assert.equal(encodeRequestHead(head), text)
    const open = { ...head, rules: { ...head.rules, dropped: new Set<string>() } }
    assert.ok(http2RequestHead(open).includes('cookie'))
    assert.ok(!http2RequestHead(head).includes('cookie'))
  })

  for (const [what, over] of [
    ['target with a line break', { target: '/a\r\nX: y' }],
    ['target with a space', { target: '/a b' }],
    ['authority with a line break', { authority: 'h\r\nX-Company-ID: evil' }],
    ['method with a space', { method: 'GET /smuggled' }],
  ] as const) {
    test(`is not written for a ${what}`, () => {
      assert.throws(() => http2RequestHead(headOf([], over)), TypeError)
    })
  }

  test('is not written with a field that is none', () => {
    for (const lines of [
      [':path', '/elsewhere'],
      ['x-tag', 'a\r\nx-company-id: evil'],
      ['x-tag', 'a\0b'],
    ])
      assert.throws(() => http2RequestHead(headOf(lines)), TypeError)
  })
})
