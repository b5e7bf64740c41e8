import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ChunkedDecoder } from './chunked.ts'
import { MalformedMessage } from './malformed.ts'

interface Chunk {
  readonly data: Uint8Array
  readonly zeros: number
  readonly upper: boolean
  readonly extension: string
}

const TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefXYZ"
const token = fc.string({ unit: fc.constantFrom(...TOKEN_CHARACTERS), minLength: 1, maxLength: 8 })
const extension = fc.oneof(
  fc.constant(''),
  token.map(name => `;${name}`),
  fc.tuple(token, token).map(([name, value]) => ` ; ${name}=${value}`),
  fc.tuple(token, token).map(([name, value]) => `;${name}="${value} ;\t"`),
)
const chunk: fc.Arbitrary<Chunk> = fc.record({
  data: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  zeros: fc.nat({ max: 4 }),
  upper: fc.boolean(),
  extension,
})

function encode(chunks: readonly Chunk[], trailer: string): Buffer {
  const parts = chunks.flatMap(({ data, zeros, upper, extension }) => {
    const size = data.length.toString(16)
    const line = `${'0'.repeat(zeros)}${upper ? size.toUpperCase() : size}${extension}\r\n`
    return [Buffer.from(line), data, Buffer.from('\r\n')]
  })
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailer}\r\n`)])
}

interface Decoded {
  readonly data: Buffer
  readonly consumed: number
  readonly done: boolean
  readonly trailer: string
}

function decode(bytes: Buffer, cuts: readonly number[] = [], decoder = new ChunkedDecoder()): Decoded {
  const data: Buffer[] = []
  const ends = [...cuts.map(cut => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  let consumed = 0
  for (const end of ends) {
    // Only what was given may be consumed, and all of it until the body is done.
    const offset = decoder.decode(bytes, consumed, end, {
      onData: (all, from, to) => data.push(Buffer.from(all.subarray(from, to))),
    })
    assert.ok(offset <= end && (decoder.done || offset === end))
    consumed = offset
  }
  return { data: Buffer.concat(data), consumed, done: decoder.done, trailer: decoder.trailer }
}

describe('a chunked body', () => {
  const chunks = fc.array(chunk, { maxLength: 6 })
  const cuts = fc.array(fc.nat(), { maxLength: 10 })

  test('gives the bytes that were encoded, under any split, and leaves what follows alone', () => {
    const trailers = fc.constantFrom('', 'X: y\r\n', 'X: y\r\nZ:\r\n')
    fc.assert(
      fc.property(chunks, trailers, fc.uint8Array({ maxLength: 20 }), cuts, (parts, trailer, rest, at) => {
        const body = encode(parts, trailer)
        const decoded = decode(Buffer.concat([body, rest]), at)
        assert.deepEqual(decoded.data, Buffer.concat(parts.map(({ data }) => data)))
        assert.equal(decoded.consumed, body.length)
        assert.equal(decoded.done, true)
        assert.equal(decoded.trailer, trailer.replace(/\r\n$/, ''))
      }),
    )
  })

  test('is not done before its last byte', () => {
    const body = encode([{ data: Buffer.from('hello'), zeros: 0, upper: false, extension: '' }], 'X: y\r\n')
    for (let end = 0; end < body.length; end++) assert.equal(decode(body.subarray(0, end)).done, false)
    assert.equal(decode(body).done, true)
  })

  test('follows another on the same decoder after a reset, also after a fault', () => {
    const decoder = new ChunkedDecoder()
    assert.equal(decode(Buffer.from('1\r\na\r\n0\r\nX: y\r\n\r\n'), [], decoder).done, true)
    decoder.reset()
    assert.throws(() => decode(Buffer.from('12z'), [], decoder), MalformedMessage)
    decoder.reset()
    const second = decode(Buffer.from('2\r\nbc\r\n0\r\n\r\n'), [], decoder)
    assert.deepEqual([second.data.toString(), second.done, second.trailer], ['bc', true, ''])
  })

  test('throws nothing but MalformedMessage, whatever the bytes', () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes)),
      fc
        .array(fc.constantFrom('0', '5', 'F', '\r\n', '\r', '\n', ';', 'x', ' ', 'hello', 'X: y'), {
          maxLength: 14,
        })
        .map(parts => Buffer.from(parts.join(''))),
    )
    const run = (bytes: Buffer, at: readonly number[]): Decoded | 'malformed' => {
      try {
        return decode(bytes, at)
      } catch (error) {
        if (!(error instanceof MalformedMessage)) throw error
        return 'malformed'
      }
    }
    fc.assert(
      fc.property(noise, cuts, (bytes, at) => assert.deepEqual(run(bytes, at), run(bytes, []))),
      { numRuns: 1_000 },
    )
  })
})

describe('a chunked body is bounded', () => {
  const rejects = (text: string): void => assert.throws(() => decode(Buffer.from(text)), MalformedMessage)

  test('in its sizes: 13 digits pass, 14 do not, nor does a number that wraps around', () => {
    assert.equal(decode(Buffer.from('0000000000001\r\na\r\n0\r\n\r\n')).done, true)
    rejects('10000000000001\r\na')
    rejects('10000000000000005\r\nhello')
  })

  test('in its extensions', () => {
    assert.equal(decode(Buffer.from(`1;${'x'.repeat(4_000)}\r\na\r\n0\r\n\r\n`)).done, true)
    rejects(`1;${'x'.repeat(65_536)}`)
  })

  test('in its trailers', () => {
    assert.equal(decode(Buffer.from(`0\r\nX: ${'x'.repeat(16_000)}\r\n\r\n`)).done, true)
    rejects(`0\r\nX: ${'x'.repeat(100_000)}`)
  })
})

test('a long trailer section costs no more for each byte than a short one', () => {
  const cost = (fields: number, rounds: number): number => {
    const body = Buffer.from(`0\r\n${'X: y\r\n'.repeat(fields)}\r\n`)
    const begun = performance.now()
    for (let round = 0; round < rounds; round++) assert.equal(decode(body).done, true)
    return performance.now() - begun
  }
  cost(20, 2_000)
  // As many bytes in long sections as in short ones; quadratic work would be a hundred times as much.
  const short = Math.min(...[1, 2, 3].map(() => cost(20, 2_000)))
  const long = Math.min(...[1, 2, 3].map(() => cost(2_000, 20)))
  assert.ok(long < 20 * short + 50, `${long} ms for long ones, ${short} ms for short ones`)
})
