import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { isFieldValue, isToken } from './fields.ts'
import { HeadReader, parseFields } from './head.ts'
import { MalformedMessage } from './malformed.ts'

const LIMIT = 300

interface Read {
  readonly text: string
  /** Bytes of the input that the head had, with its empty line; -1: it has not ended. */
  readonly behind: number
}

/** Through one buffer that every read lands in, as from a socket: what stood there before is still behind the end. */
function read(
  bytes: Buffer,
  cuts: readonly number[] = [],
  reader = new HeadReader(LIMIT),
): Read | 'malformed' {
  const shared = Buffer.alloc(bytes.length + 64, '\r\n\r\n')
  const ends = [...cuts.map(cut => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  let taken = 0
  try {
    for (const end of ends) {
      if (end === taken) continue
      const start = taken % 7
      bytes.copy(shared, start, taken, end)
      const next = reader.take(shared, start, start + end - taken)
      if (next !== -1) return { text: reader.text, behind: taken + next - start }
      taken = end
      assert.equal(reader.begun, true)
    }
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    return 'malformed'
  }
  return { text: '', behind: -1 }
}

const line = fc.string({ unit: fc.constantFrom('a', ' ', ':', '\r', '\xff', '\0'), maxLength: 30 })
const cuts = fc.array(fc.nat(), { maxLength: 8 })

describe('a head', () => {
  test('ends at its first empty line, wherever it is cut, and leaves what follows alone', () => {
    const rest = fc.string({
      unit: fc.constantFrom('b', '\r\n', '\r\n\r\n', 'GET / HTTP/1.1\r\n'),
      maxLength: 6,
    })
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 6 }), rest, cuts, (lines, after, at) => {
        const head = lines.join('\r\n')
        fc.pre(head.length <= LIMIT && !head.includes('\r\n\r\n'))
        const bytes = Buffer.from(`${head}\r\n\r\n${after}`, 'latin1')
        const expected = bytes.indexOf('\r\n\r\n')
        assert.deepEqual(read(bytes, at), {
          text: bytes.toString('latin1', 0, expected),
          behind: expected + 4,
        })
      }),
    )
  })

  test('reads the same byte by byte, for long ones too', () => {
    for (const length of [0, 1, 1_020, 1_024, 2_040, 2_047, 2_048, 2_049, 5_000]) {
      const bytes = Buffer.from(`${'x'.repeat(length)}\r\n\r\nrest`)
      const expected: Read = { text: 'x'.repeat(length), behind: length + 4 }
      assert.deepEqual(read(bytes, [], new HeadReader(10_000)), expected)
      const everywhere = Array.from(bytes, (_, index) => index)
      assert.deepEqual(read(bytes, everywhere, new HeadReader(10_000)), expected)
    }
  })

  test('may have as many bytes as the limit and not one more, wherever it is cut', () => {
    fc.assert(
      fc.property(fc.integer({ min: LIMIT - 6, max: LIMIT + 6 }), cuts, (length, at) => {
        const bytes = Buffer.from(`${'x'.repeat(length)}\r\n\r\n`)
        const expected = length <= LIMIT ? { text: 'x'.repeat(length), behind: length + 4 } : 'malformed'
        assert.deepEqual(read(bytes, at), expected)
      }),
    )
  })

  test('that never ends is refused before more than the limit and one read is held', () => {
    for (const size of [1, 7, 64, 1_000]) {
      const reader = new HeadReader(LIMIT)
      const piece = Buffer.alloc(size, 'x')
      let taken = 0
      assert.throws(
        () => {
          for (; taken < 100_000; taken += size) reader.take(piece, 0, size)
        },
        { name: 'MalformedMessage', kind: 'head' },
      )
      assert.ok(taken <= LIMIT + 4, `${taken} bytes in pieces of ${size}`)
    }
  })

  test('with a bare LF is refused while its end is still awaited', () => {
    for (const text of ['GET / HTTP/1.1\n', 'a\r\nb\nc', '\n', 'a\n\n']) {
      const bytes = Buffer.from(text)
      assert.equal(read(bytes), 'malformed', JSON.stringify(text))
      assert.equal(
        read(
          bytes,
          Array.from(bytes, (_, index) => index),
        ),
        'malformed',
        JSON.stringify(text),
      )
    }
    assert.deepEqual(read(Buffer.from('a\r\nb\r'), [1, 2, 3]), { text: '', behind: -1 })
  })

  test('is followed by another on the same reader, whole or cut, also after one that was given up', () => {
    const reader = new HeadReader(LIMIT)
    for (const at of [[], [3], [], [1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      assert.deepEqual(read(Buffer.from('first\r\n\r\nx'), at, reader), { text: 'first', behind: 9 })
      assert.equal(reader.begun, false)
      reader.take(Buffer.from('given up'), 0, 8)
      reader.reset()
    }
  })
})

describe('field lines', () => {
  const name = fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom('Host', 'x-a', "!#$%&'*+-.^_`|~", 'Content-Length') },
    { weight: 1, arbitrary: fc.constantFrom('', 'X Y', 'X\t', 'X\xe9', '(', 'X\0') },
  )
  const unit = fc.oneof(
    { weight: 30, arbitrary: fc.constantFrom('a', ' ', '\t', ':', '\xff', '\x80') },
    { weight: 1, arbitrary: fc.constantFrom('\0', '\r', '\n', '\x7f', '\x1f', '\v') },
  )
  const value = fc.string({ unit, maxLength: 5 })
  const before = fc.oneof({ weight: 9, arbitrary: fc.constantFrom('', ' ', '\t ') }, fc.constant('\r'))

  test('are tokens and values without a control character, each as it was sent, or none at all', () => {
    const field = fc.tuple(name, before, value, fc.constantFrom('', ' ', '\t'))
    let taken = 0
    fc.assert(
      fc.property(fc.array(field, { maxLength: 4 }), fields => {
        const text = fields
          .map(([left, before, right, after]) => `${left}:${before}${right}${after}`)
          .join('\r\n')
        fc.pre(!fields.some(([, before, right]) => `${before}${right}`.includes('\r\n')))
        const good = fields.every(([left, before, right]) => isToken(left) && isFieldValue(before + right))
        if (!good) {
          assert.throws(() => parseFields(text, 0, 10), MalformedMessage)
          return
        }
        const parsed = parseFields(text, 0, 10)
        assert.deepEqual(
          parsed,
          fields.flatMap(([left, , right]) => [left, right.replace(/^[ \t]+|[ \t]+$/g, '')]),
        )
        assert.doesNotMatch(parsed.join(''), /[\r\n\0]/)
        if (fields.length > 0) taken++
      }),
      { numRuns: 1_000 },
    )
    assert.ok(taken > 200, `only ${taken} were good`)
  })

  test('begin where they are said to begin', () => {
    assert.deepEqual(parseFields('GET / HTTP/1.1\r\nA: b', 16, 10), ['A', 'b'])
  })

  test('may be as many as the limit and not one more', () => {
    const lines = (count: number): string => Array(count).fill('A: b').join('\r\n')
    assert.equal(parseFields(lines(64), 0, 64).length, 128)
    assert.throws(() => parseFields(lines(65), 0, 64), { name: 'MalformedMessage', kind: 'head' })
  })

  for (const text of [
    'A',
    ': b',
    'A : b',
    'A\t: b',
    ' A: b',
    'A: b\r\n c: d',
    'A: b\r\n\tc',
    'A: b\r\n\r\nC: d',
    'A: b\rC: d',
    'A: b\nC: d',
    'A: b\r\r\nC: d',
    'A\r\nB: c',
    '\r\nA: b',
  ]) {
    test(`are not ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseFields(text, 0, 10), MalformedMessage)
    })
  }
})
