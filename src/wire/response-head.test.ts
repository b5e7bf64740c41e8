import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { fieldName, isFieldValue, isToken } from './fields.ts'
import { encodeInformational, encodeResponseHead, type ResponseFraming } from './response-head.ts'

const OWN = 'X-Request-ID: own\r\nConnection: keep-alive\r\n'
const DATE = 'Date: Sat, 01 Jan 2022 00:00:00 GMT'

const encode = (fields: readonly string[], framing: ResponseFraming = 0, status = 200): string =>
  encodeResponseHead({ status, fields: fields as string[], framing, ownLines: OWN })

/** Its lines, behind the status line, as a lax client would read them. */
function linesOf(head: string): string[] {
  assert.ok(head.endsWith('\r\n\r\n'), head)
  const inner = head.slice(0, -4)
  assert.ok(!inner.includes('\r\n\r\n'), 'an empty line within the head')
  assert.doesNotMatch(inner.replaceAll('\r\n', ''), /[\r\n\0]/)
  return inner.split('\r\n').slice(1)
}

const named = (lines: readonly string[], name: string): string[] =>
  lines.filter(line => line.slice(0, line.indexOf(':')).toLowerCase() === name)

/** Written out anew, by the rules and without any memory. */
function expectedLines(fields: readonly string[], framing: ResponseFraming): string[] {
  const expected: string[] = []
  for (let i = 0; i < fields.length; i += 2) {
    const { lower, owner } = fieldName(fields[i]!)
    if (owner === 'hop' || lower === 'content-length' || (lower === 'trailer' && framing !== 'chunked'))
      continue
    expected.push(`${fields[i]}: ${fields[i + 1]}`)
  }
  if (framing === 'chunked') expected.push('Transfer-Encoding: chunked')
  if (named(expected, 'date').length === 0) expected.push('Date')
  if (typeof framing === 'number') expected.push(`Content-Length: ${framing}`)
  return [...expected, ...OWN.trimEnd().split('\r\n')]
}

/** With any date for the one of this very second. */
const withoutNow = (lines: readonly string[]): string[] =>
  lines.map(line => (/^Date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/.test(line) ? 'Date' : line))

const framings = fc.constantFrom<ResponseFraming>('none', 'chunked', 'until-close', 0, 17, 1_000_000)

describe('the head of an answer', () => {
  test('carries the status line, the fields, one Date, the framing, its own lines, and one empty line', () => {
    assert.equal(
      encode(['Content-Type', 'text/plain', 'Date', DATE.slice(6), 'X-A', '1', 'x-a', '2'], 5, 404),
      `HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n${DATE}\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n${OWN}\r\n`,
    )
  })

  test('has the date of now where it has none of its own, in each of two seconds', t => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2031, 4, 6, 7, 8, 9, 999) })
    assert.deepEqual(named(linesOf(encode([])), 'date'), ['Date: Tue, 06 May 2031 07:08:09 GMT'])
    t.mock.timers.tick(1)
    assert.deepEqual(named(linesOf(encode([])), 'date'), ['Date: Tue, 06 May 2031 07:08:10 GMT'])
    assert.deepEqual(named(linesOf(encode(['dAtE', 'said'])), 'date'), ['dAtE: said'])
  })

  test('says how its body ends in one way, and never in the words of a policy', () => {
    const framing = ['Content-Length', 'Transfer-Encoding', 'Connection', 'Keep-Alive', 'Upgrade', 'TE']
    const spelled = [
      ...framing,
      ...framing.map(name => name.toLowerCase()),
      'Proxy-Connection',
      'Transfer_Encoding',
    ]
    const name = fc.oneof(fc.constantFrom(...spelled), fc.constantFrom('X-A', 'Trailer', 'Content-Type'))
    const field = fc.tuple(name, fc.constantFrom('5', 'chunked', 'close', 'X-A'))
    fc.assert(
      fc.property(fc.array(field, { maxLength: 6 }), framings, (fields, kind) => {
        const lines = linesOf(encode(fields.flat(), kind))
        const length = typeof kind === 'number' ? [`Content-Length: ${kind}`] : []
        assert.deepEqual(named(lines, 'content-length'), length)
        const coding = kind === 'chunked' ? ['Transfer-Encoding: chunked'] : []
        assert.deepEqual(named(lines, 'transfer-encoding'), coding)
        assert.deepEqual(named(lines, 'connection'), ['Connection: keep-alive'])
        for (const other of ['keep-alive', 'upgrade', 'te', 'proxy-connection', 'transfer_encoding'])
          assert.deepEqual(named(lines, other), [])
        if (kind !== 'chunked') assert.deepEqual(named(lines, 'trailer'), [])
      }),
    )
  })

  test('is one message, whatever the names and values, or is refused', () => {
    const unit = fc.constantFrom('a', ' ', ':', '\r', '\n', '\0', '\x7f', '\t', '\xe9', '\u0100', '\u{1f600}')
    const text = fc.string({ unit, maxLength: 4 })
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 3 }), framings, (fields, kind) => {
        const good = fields.every(([name, value]) => isToken(name) && isFieldValue(value))
        if (!good) return assert.throws(() => encode(fields.flat(), kind), TypeError)
        assert.deepEqual(withoutNow(linesOf(encode(fields.flat(), kind))), expectedLines(fields.flat(), kind))
      }),
      { numRuns: 500 },
    )
  })

  test('stays refused, and the good one beside it stays as it was', () => {
    for (let round = 0; round < 3; round++) {
      assert.throws(() => encode(['X-A', 'b\r\nSet-Cookie: c']), TypeError)
      assert.deepEqual(named(linesOf(encode(['X-A', 'b'])), 'x-a'), ['X-A: b'])
    }
  })

  test('is refused for a status that is none', () => {
    for (const status of [0, 99, 600, 1_000, -200, 200.5, Number.NaN]) {
      assert.throws(() => encode([], 0, status), TypeError, String(status))
      assert.throws(() => encodeInformational(status, []), TypeError, String(status))
    }
    assert.match(encode([], 0, 599), /^HTTP\/1\.1 599 \S/)
  })
})

describe('what is remembered of answers', () => {
  const field = fc.tuple(
    fc.constantFrom('A', 'a', 'B', 'Trailer', 'Date', 'Content-Length'),
    fc.constantFrom('1', '2', '', 'a'),
  )
  const kinds = fc.array(fc.tuple(fc.array(field, { maxLength: 3 }), framings), {
    minLength: 1,
    maxLength: 20,
  })

  test('is never that of another: more kinds than are kept, in any order, as equal and as the same arrays', () => {
    fc.assert(
      fc.property(kinds, fc.array(fc.tuple(fc.nat(), fc.boolean()), { maxLength: 60 }), (all, order) => {
        const arrays = all.map(([fields]) => fields.flat())
        for (const [turn, again] of order) {
          const index = turn % all.length
          const array = arrays[index]!
          const framing = all[index]![1]
          const head = encode(again ? array : [...array], framing)
          assert.deepEqual(withoutNow(linesOf(head)), expectedLines(array, framing))
        }
      }),
    )
  })

  test('is what the caller gave, not what the caller made of it afterwards', () => {
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 3 }), framings, (fields, framing) => {
        const array: string[] = fields.flat()
        const first = withoutNow(linesOf(encode(array, framing)))
        array[1] = 'changed'
        assert.deepEqual(withoutNow(linesOf(encode(array, framing))), expectedLines(array, framing))
        array.push('Set-Cookie', 'secret')
        assert.deepEqual(withoutNow(linesOf(encode(array, framing))), expectedLines(array, framing))
        array.length = 0
        assert.deepEqual(withoutNow(linesOf(encode(array, framing))), expectedLines([], framing))
        assert.deepEqual(withoutNow(linesOf(encode(fields.flat(), framing))), first)
      }),
    )
  })

  test('does not depend on where names end and values begin', () => {
    const heads = [
      ['A', 'B', 'C', 'D'],
      ['A', 'B'],
      ['AB', 'CD'],
      ['A', 'BCD'],
      ['ABC', 'D'],
      ['A', 'B', 'CD', ''],
    ]
    for (let round = 0; round < 3; round++)
      for (const fields of heads)
        assert.deepEqual(withoutNow(linesOf(encode(fields))), expectedLines(fields, 0))
  })
})

describe('an answer before the answer', () => {
  test('carries what may pass, and nothing that frames, connects, or breaks the message', () => {
    assert.equal(
      encodeInformational(103, ['Link', '</a>', 'Content-Length', '5', 'Transfer-Encoding', 'chunked']),
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
    )
    const unit = fc.constantFrom('a', 'b', ' ', ':', '\r', '\n', '\0', '\xe9', '\u0100')
    const text = fc.string({ unit, maxLength: 4 })
    const name = fc.oneof(text, fc.constantFrom('Connection', 'Content-Length', 'upgrade'))
    fc.assert(
      fc.property(fc.array(fc.tuple(name, text), { maxLength: 4 }), fields => {
        const passing = fields.filter(
          ([left, right]) => isToken(left) && isFieldValue(right) && fieldName(left).owner === 'end-to-end',
        )
        const lines = linesOf(encodeInformational(100, fields.flat()))
        assert.deepEqual(
          lines,
          passing.map(([left, right]) => `${left}: ${right}`),
        )
      }),
    )
  })
})
