import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  canonicalName,
  connectionOptions,
  type FieldOwner,
  fieldName,
  findField,
  isFieldValue,
  isToken,
  passableTrailers,
  removeField,
  setField,
  withoutOuterSpace,
} from './fields.ts'

describe('a field name', () => {
  test('is owned by whom the RFC or the gateway says, in any letter case and with any separator', () => {
    const owners: Record<FieldOwner, string[]> = {
      hop: [
        'connection',
        'keep-alive',
        'proxy-authorization',
        'proxy-connection',
        'te',
        'transfer-encoding',
        'upgrade',
      ],
      framing: ['content-length', 'expect', 'host'],
      forwarding: [
        'forwarded',
        'x-forwarded-for',
        'x-forwarded-host',
        'x-forwarded-prefix',
        'x-forwarded-whatever',
      ],
      'end-to-end': [
        'accept',
        'content-type',
        'authorization',
        'hostname',
        'x-forward',
        '__proto__',
        'constructor',
      ],
    }
    for (const [owner, names] of Object.entries(owners)) {
      for (const name of names) {
        for (const variant of [
          name,
          name.toUpperCase(),
          name.replaceAll('-', '_'),
          name.replaceAll('-', '.'),
        ]) {
          assert.equal(fieldName(variant).owner, owner, variant)
        }
      }
    }
  })

  test('has the same forms when it is looked up again, also past the limits of the table', () => {
    const names = Array.from({ length: 5_000 }, (_, index) => `X_Name.${index}${'y'.repeat(index % 90)}`)
    for (const name of [...names, ...names]) {
      assert.deepEqual(fieldName(name), {
        lower: name.toLowerCase(),
        canonical: canonicalName(name),
        owner: 'end-to-end',
        isToken: true,
      })
    }
  })

  test('is one token', () => {
    for (const name of ['X', 'x-y_z.1', "!#$%&'*+-.^_`|~"]) assert.equal(isToken(name), true, name)
    for (const name of [
      '',
      ' ',
      'X ',
      ' X',
      'X:',
      'X\r',
      'X\n',
      'X\r\nY',
      'X\0',
      'é',
      '\u212a',
      '(',
      '"',
      '/',
    ]) {
      assert.equal(isToken(name), false, JSON.stringify(name))
    }
  })
})

describe('a field value', () => {
  test('has no controls but HTAB and nothing beyond Latin-1', () => {
    for (let code = 0; code < 0x300; code++) {
      const allowed = code === 0x09 || (code >= 0x20 && code <= 0xff && code !== 0x7f)
      assert.equal(isFieldValue(`a${String.fromCharCode(code)}b`), allowed, `U+${code.toString(16)}`)
    }
    assert.equal(isFieldValue('a\r\n'), false)
    assert.equal(isFieldValue('\u{1f600}'), false)
  })

  test('loses SP and HTAB at its ends, and nothing else', () => {
    const unit = fc.constantFrom(' ', '\t', 'a', '\xa0', '\r', '\n', '\v', '\f', '\u2003')
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 8 }), text => {
        assert.equal(withoutOuterSpace(text), text.replace(/^[ \t]+/, '').replace(/[ \t]+$/, ''))
      }),
    )
  })
})

describe('a list of field lines', () => {
  test('is searched, cleared and set without regard to letter case, and keeps the rest in order', () => {
    const fields = ['A', '1', 'b', '2', 'a', '3', 'C', '4']
    assert.equal(findField(fields, 'a'), '1')
    assert.equal(findField(fields, 'c'), '4')
    assert.equal(findField(fields, 'd'), undefined)
    removeField(fields, 'a')
    assert.deepEqual(fields, ['b', '2', 'C', '4'])
    setField(fields, 'B', '5')
    assert.deepEqual(fields, ['C', '4', 'B', '5'])
  })

  test('is not searched in its values', () => {
    assert.equal(findField(['x', 'a', 'y', 'b'], 'a'), undefined)
  })
})

describe('Connection options', () => {
  const cases: [string[], string[] | null][] = [
    [[], null],
    [['keep-alive'], null],
    [['Close, Keep-Alive'], null],
    [[' , ,'], null],
    [['X-Foo'], ['x-foo']],
    [
      ['keep-alive, X-Foo ,\tx-BAR', 'TE'],
      ['x-foo', 'x-bar', 'te'],
    ],
    [['__proto__'], ['__proto__']],
  ]
  for (const [values, expected] of cases) {
    test(`are read from ${JSON.stringify(values)}`, () => {
      const options = connectionOptions(values)
      assert.deepEqual(options === null ? null : [...options], expected)
    })
  }
})

describe('trailers', () => {
  const refused = new Set(['x-company-id'])

  test('pass when they are ordinary, repeated ones too', () => {
    const trailers = ['X-Sum', '1', 'x-sum', '2', 'Server-Timing', 'a']
    assert.deepEqual(passableTrailers(trailers, refused), trailers)
  })

  test('do not pass when they frame, route, authenticate, or are asserted by the gateway, however spelled', () => {
    const names = [
      ...['Content-Length', 'Transfer-Encoding', 'Host', 'Connection', 'TE', 'Trailer', 'Upgrade', 'Expect'],
      ...['Authorization', 'Proxy-Authorization', 'Cookie', 'Set-Cookie', 'WWW-Authenticate', 'X-Company-ID'],
      ...[
        'Content-Type',
        'Content-Encoding',
        'Content-Range',
        'Cache-Control',
        'Max-Forwards',
        'Location',
        'Vary',
      ],
      ...[
        'X-Forwarded-For',
        'Forwarded',
        'X-Request-ID',
        'Access-Control-Allow-Origin',
        'Via',
        'Date',
        'Age',
      ],
    ]
    for (const name of names) {
      for (const variant of [name, name.toLowerCase(), name.toUpperCase(), name.replaceAll('-', '_')]) {
        assert.deepEqual(passableTrailers(['X-Sum', '1', variant, '2'], refused), ['X-Sum', '1'], variant)
      }
    }
  })
})
