import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { canonicalName, HOP_BY_HOP } from './fields.ts'
import { encodeRequestHead, fieldLine, type RequestHead } from './request-head.ts'
import { RequestHeaders } from './request-headers.ts'

const ASSERTED = ['x-company-id', 'x-user-id', 'x-user-email', 'x-role']
const OWN = [
  fieldLine('X-Company-ID', 'own'),
  fieldLine('X-User-ID', 'own'),
  fieldLine('X-Forwarded-For', 'own'),
].join('')

/** Names that a client may send and an upstream must never see coming from it. */
const GATEWAY_NAMES = [
  ...ASSERTED,
  ...HOP_BY_HOP,
  ...['content-length', 'expect', 'host', 'forwarded', 'x-real-ip', 'x-request-id'],
  ...[
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-forwarded-prefix',
    'x-replaced',
    'cookie',
  ],
]

function headOf(lines: string[], over: Partial<RequestHead> = {}): RequestHead {
  const headers = new RequestHeaders(lines)
  return {
    method: 'POST',
    target: '/a?b=c',
    authority: 'upstream:8000',
    headers,
    rules: { asserted: new Set(ASSERTED), dropped: new Set(['cookie']) },
    replaced: new Set(['x-replaced']),
    ownLines: OWN,
    framing: 'none',
    expectContinue: false,
    ...over,
  }
}

/** Reads a head as a lax server would. */
function read(text: string): { start: string; fields: [string, string][] } {
  assert.ok(text.endsWith('\r\n\r\n'))
  assert.equal(text.indexOf('\r\n\r\n'), text.length - 4, 'more than one empty line')
  assert.doesNotMatch(text.replaceAll('\r\n', ''), /[\r\n\0]/)
  const [start = '', ...lines] = text.slice(0, -4).split('\r\n')
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(': ')
    assert.ok(colon > 0, `no field: ${line}`)
    return [line.slice(0, colon), line.slice(colon + 2)]
  })
  return { start, fields }
}

const CLIENT_VALUE = 'from the client'

/** A name in any mixture of letter cases, with any of the separators that CGI servers cannot tell apart. */
function variantsOf(name: string): fc.Arbitrary<string> {
  return fc
    .array(fc.tuple(fc.boolean(), fc.constantFrom('-', '_', '.')), {
      minLength: name.length,
      maxLength: name.length,
    })
    .map(choices =>
      [...name]
        .map((character, index) => {
          const [upper, separator] = choices[index]!
          if (character === '-') return separator
          return upper ? character.toUpperCase() : character
        })
        .join(''),
    )
}

const gatewayName = fc.constantFrom(...GATEWAY_NAMES.filter(name => name !== 'cookie')).chain(variantsOf)
const clientName = fc
  .string({ unit: fc.constantFrom(...'abcxyz0-_.~!'), minLength: 1, maxLength: 10 })
  .map(name => `q${name}`)

describe('the request head for an upstream', () => {
  test('carries the request line, one Host, the end-to-end fields, its own lines, and one empty line', () => {
    const head = headOf([
      'Host',
      'gateway',
      'Accept',
      '*/*',
      'X-Tag',
      'a',
      'x-tag',
      'b',
      'Content-Length',
      '5',
    ])
    assert.equal(
      encodeRequestHead({ ...head, framing: 5, expectContinue: true }),
      'POST /a?b=c HTTP/1.1\r\nHost: upstream:8000\r\nAccept: */*\r\nX-Tag: a\r\nx-tag: b\r\n' +
        `${OWN}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`,
    )
  })

  test('never lets a name through that only the gateway may send, however it is spelled', () => {
    const line = fc.oneof(gatewayName, clientName).map(name => [name, CLIENT_VALUE])
    const framing = fc.constantFrom('none' as const, 'chunked' as const, 0, 17)
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), framing, fc.boolean(), (lines, body, expectContinue) => {
        const text = encodeRequestHead(headOf(lines.flat(), { framing: body, expectContinue }))
        const { fields } = read(text)
        const passed = fields.filter(([, value]) => value === CLIENT_VALUE).map(([name]) => name)
        const expected = lines
          .map(([name]) => name!)
          .filter(name => !GATEWAY_NAMES.includes(canonicalName(name)))
        assert.deepEqual(passed, expected)
        const count = (name: string): number => fields.filter(([own]) => canonicalName(own) === name).length
        assert.equal(count('host'), 1)
        assert.equal(count('x-company-id'), 1)
        assert.equal(count('transfer-encoding'), body === 'chunked' ? 1 : 0)
        assert.equal(count('content-length'), typeof body === 'number' ? 1 : 0)
        assert.equal(count('expect'), expectContinue ? 1 : 0)
      }),
    )
  })

  test('drops what Connection names, in any letter case, but none of its own lines', () => {
    fc.assert(
      fc.property(
        clientName.chain(name => fc.tuple(fc.constant(name), variantsOfCase(name))),
        ([name, option]) => {
          const connection = `close, ${option},X-Company-ID, X-User-ID, Authorization`
          const { fields } = read(
            encodeRequestHead(headOf([name, CLIENT_VALUE, 'Connection', connection, 'qkept', CLIENT_VALUE])),
          )
          const passed = fields.filter(([, value]) => value === CLIENT_VALUE).map(([own]) => own)
          assert.deepEqual(passed, name.toLowerCase() === 'qkept' ? [] : ['qkept'])
          for (const own of ['X-Company-ID', 'X-User-ID', 'X-Forwarded-For']) {
            assert.deepEqual(
              fields.filter(([field]) => field === own),
              [[own, 'own']],
            )
          }
        },
      ),
    )
  })

  test('drops cookies on a route that does not forward them, and only there', () => {
    const lines = ['cookie', 'a', 'COOKIE', 'b', 'Accept', '*/*']
    assert.doesNotMatch(encodeRequestHead(headOf(lines)), /cookie/i)
    assert.match(
      encodeRequestHead(headOf(lines, { rules: { asserted: new Set(ASSERTED), dropped: new Set() } })),
      /cookie: a\r\nCOOKIE: b\r\n/,
    )
  })

  test('keeps Latin-1 values as they are', () => {
    assert.match(encodeRequestHead(headOf(['X-Tag', 'caf\xe9 \x80\xff'])), /X-Tag: caf\xe9 \x80\xff\r\n/)
  })

  for (const [what, over] of [
    ['target with a line break', { target: '/a\r\nX: y' }],
    ['target with a space', { target: '/a b' }],
    ['target with a tab', { target: '/a\tb' }],
    ['target beyond ASCII', { target: '/\xe9' }],
    ['target with NUL', { target: '/\0' }],
    ['authority with a line break', { authority: 'h\r\nX-Company-ID: evil' }],
    ['authority with a bare LF', { authority: 'h\nX-Company-ID: evil' }],
    ['method with a line break', { method: 'GET / HTTP/1.1\r\nX: y\r\n\r\nGET' }],
    ['method with a space', { method: 'GET /smuggled' }],
  ] as const) {
    test(`is not written for a ${what}`, () => {
      assert.throws(() => encodeRequestHead(headOf([], over)), TypeError)
    })
  }
})

describe('a line of the gateway itself', () => {
  test('is one line, whatever the name and the value, or is refused', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', ' ', ':', '\r', '\n', '\0', '\x7f', '\t', '\xe9', '\u0100', '\u{1f600}'),
    })
    fc.assert(
      fc.property(text, text, (name, value) => {
        let line: string
        try {
          line = fieldLine(name, value)
        } catch (error) {
          assert.ok(error instanceof TypeError)
          return
        }
        assert.match(line, /^a+: [\t\x20-\x7e\x80-\xff]*\r\n$/)
      }),
    )
  })

  test('passes for what is safe', () => {
    assert.equal(fieldLine('X-A', 'b\tc \xe9'), 'X-A: b\tc \xe9\r\n')
  })
})

function variantsOfCase(name: string): fc.Arbitrary<string> {
  return fc.constantFrom(name, name.toUpperCase(), `\t${name} `)
}

test('asks for a WebSocket only where it is told to', () => {
  assert.match(encodeRequestHead(headOf([]), true), /\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n/)
  assert.doesNotMatch(encodeRequestHead(headOf(['Upgrade', 'websocket'])), /upgrade/i)
})
