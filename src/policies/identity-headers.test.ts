import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { exchangeOf, identityOf } from '../../test/support/exchange.ts'
import { reply } from '../exchange.ts'
import type { Identity } from '../identity/identity.ts'
import { isFieldValue } from '../wire/fields.ts'
import { encodeText, identityHeaders } from './identity-headers.ts'

/** Lines that reach the upstream for an identity. */
function linesFor(identity: Identity | undefined, claimHeaders: Record<string, string> = {}): string[] {
  const exchange = exchangeOf(identity === undefined ? {} : { identity })
  void identityHeaders(claimHeaders)(exchange, () => reply(204, []))
  const { lines } = exchange.upstreamHeaders
  assert.ok(lines === '' || lines.endsWith('\r\n'))
  return lines.split('\r\n').slice(0, -1)
}

const percentDecoded = (text: string): string => decodeURIComponent(text)

describe('identity headers', () => {
  test('name company, user and e-mail', () => {
    assert.deepEqual(linesFor(identityOf({ email: 'a@b.example' })), [
      'X-Company-ID: acme',
      'X-User-ID: u1',
      'X-User-Email: a@b.example',
    ])
  })

  test('leave out what is not known', () => {
    assert.deepEqual(linesFor(identityOf({ companyId: null })), ['X-User-ID: u1'])
    assert.deepEqual(linesFor(undefined, { 'X-Role': 'role' }), [])
  })

  test('carry mapped claims: text, numbers, lists and objects; nothing for what is absent', () => {
    const claims = {
      role: 'admin',
      n: 7,
      yes: true,
      list: ['a', 'b,c', 1],
      deep: { x: { y: 'z' } },
      gone: null,
    }
    const mapped = {
      'X-Role': 'role',
      'X-N': 'n',
      'X-Yes': 'yes',
      'X-List': 'list',
      'X-Y': 'deep.x.y',
      'X-Deep': 'deep',
      'X-Gone': 'gone',
      'X-Absent': 'a.b',
    }
    assert.deepEqual(linesFor(identityOf({ claims }), mapped).slice(2), [
      'X-Role: admin',
      'X-N: 7',
      'X-Yes: true',
      'X-List: a,b%2Cc,1',
      'X-Y: z',
      'X-Deep: {"x":{"y":"z"}}',
    ])
  })

  test('are the same for the second request of a token', () => {
    const policy = identityHeaders({ 'X-Role': 'role' })
    const identity = identityOf({ claims: { role: 'é' } })
    const [first, second] = [exchangeOf({ identity }), exchangeOf({ identity })]
    for (const exchange of [first, second]) void policy(exchange, () => reply(204, []))
    assert.equal(second.upstreamHeaders.lines, first.upstreamHeaders.lines)
    assert.match(second.upstreamHeaders.lines, /X-Role: %C3%A9\r\n/)
  })

  test('are one safe line each, whatever the claims say', () => {
    const value = fc.oneof(
      fc.string({ unit: 'binary', size: 'medium' }),
      fc.jsonValue({ maxDepth: 2 }),
      fc.constant('a\r\nX-Company-ID: evil'),
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), value, value, (email, a, b) => {
        const claims = JSON.parse(JSON.stringify({ a, b }))
        const lines = linesFor(identityOf({ email, claims }), { 'X-A': 'a', 'X-B': 'b' })
        for (const line of lines)
          assert.match(line, /^X-(?:Company-ID|User-ID|User-Email|A|B): [\x20-\x7e]*$/)
        const names = lines.map(line => line.slice(0, line.indexOf(':')))
        assert.equal(new Set(names).size, names.length)
      }),
    )
  })
})

describe('text in a header', () => {
  for (const [text, expected] of [
    ['plain-text@b.example', 'plain-text@b.example'],
    ['', ''],
    ['a b', 'a b'],
    [' a ', '%20a%20'],
    ['100%', '100%25'],
    ['%20', '%2520'],
    ['é', '%C3%A9'],
    ['\u{1f600}', '%F0%9F%98%80'],
    ['a\r\nb', 'a%0D%0Ab'],
    ['\t\0\x7f', '%09%00%7F'],
    ['\xa0a', '%C2%A0a'],
  ] as const) {
    test(`${JSON.stringify(text)} arrives as ${JSON.stringify(expected)}`, () =>
      assert.equal(encodeText(text), expected))
  }

  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({
      unit: fc.constantFrom('%', '2', '5', '0', ' ', 'A', '\t', '\r', '\n', 'é', 'a'),
      maxLength: 12,
    }),
  )

  test('is safe, and can be read back', () => {
    fc.assert(
      fc.property(anyText, text => {
        const encoded = encodeText(text)
        assert.ok(
          isFieldValue(encoded) && /^(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?$/.test(encoded),
          encoded,
        )
        assert.equal(percentDecoded(encoded), text)
      }),
      { numRuns: 2_000 },
    )
  })

  test('is never the same for two texts, long ones too', () => {
    for (const unit of ['a', 'é', '\u{1f600}', '%']) {
      const long = unit.repeat(5_000)
      assert.ok(encodeText(`${long}x`) !== encodeText(`${long}y`), unit)
    }
  })

  test('is never cut within a character', () => {
    for (let length = 4_080; length <= 4_100; length++) {
      assert.doesNotThrow(() => percentDecoded(encodeText(`${'a'.repeat(length)}é\u{1f600}`)), `${length}`)
    }
  })
})
