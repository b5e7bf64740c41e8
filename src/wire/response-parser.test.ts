import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  BAD_ANSWERS,
  CUT_ANSWERS,
  GOOD_ANSWERS,
  OVERLONG_ANSWERS,
} from '../../test/support/response-corpus.ts'
import { MalformedMessage } from './malformed.ts'
import { MAX_HEAD_BYTES, type ResponseHead, ResponseParser } from './response-parser.ts'

interface Outcome {
  readonly informational: [number, string[]][]
  readonly heads: ResponseHead[]
  readonly body: string
  readonly ends: string[][]
  readonly malformed: boolean
  /** What `close` said behind the last byte; null when it did not come to that. */
  readonly whole: boolean | null
}

/** Feeds pieces through one buffer that is overwritten after each, as a socket's read buffer is. */
function parse(pieces: readonly Buffer[], method = 'GET'): Outcome {
  const informational: [number, string[]][] = []
  const heads: ResponseHead[] = []
  const ends: string[][] = []
  let body = ''
  let malformed = false
  let whole: boolean | null = null
  const parser = new ResponseParser({
    onInformational: (status, fields) => informational.push([status, [...fields]]),
    onHead: head => heads.push(head),
    onUpgrade: head => heads.push(head),
    onData: (bytes, start, end) => {
      body += bytes.toString('latin1', start, end)
    },
    onEnd: trailers => ends.push(trailers),
  })
  const shared = Buffer.alloc(Math.max(1, ...pieces.map(piece => piece.length)))
  parser.begin(method)
  try {
    for (const piece of pieces) {
      piece.copy(shared)
      parser.execute(shared.subarray(0, piece.length))
      shared.fill(0x2a)
    }
    whole = parser.close()
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    malformed = true
  }
  return { informational, heads, body, ends, malformed, whole }
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

/** In one piece, in every two halves, byte by byte. */
function* splits(text: string): Generator<Buffer[]> {
  const bytes = bytesOf(text)
  yield [bytes]
  const step = Math.ceil(bytes.length / 400)
  for (let at = 1; at < bytes.length; at += step) yield [bytes.subarray(0, at), bytes.subarray(at)]
  yield [...bytes].map(byte => Buffer.of(byte))
}

function piecesOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map(cut => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, index) => bytes.subarray(from, places[index] ?? bytes.length))
}

describe('an upstream answer', () => {
  for (const { what, method, bytes, status, body, keepAlive, trailers } of GOOD_ANSWERS) {
    test(`is read the same however its bytes are split: ${what}`, () => {
      const expected = parse([bytesOf(bytes)], method)
      assert.equal(expected.malformed, false)
      assert.equal(expected.whole, true)
      assert.deepEqual(
        expected.heads.map(head => [head.status, head.keepAlive]),
        [[status, keepAlive]],
      )
      assert.equal(expected.body, body)
      assert.deepEqual(expected.ends, [trailers ?? []])
      for (const pieces of splits(bytes)) assert.deepEqual(parse(pieces, method), expected)
    })
  }

  for (const { what, bytes } of BAD_ANSWERS) {
    test(`is refused however its bytes are split: ${what}`, () => {
      for (const pieces of splits(bytes)) {
        const { malformed, ends } = parse(pieces)
        assert.equal(malformed, true, `accepted in ${pieces.length} pieces`)
        assert.deepEqual(ends, [])
      }
    })
  }

  for (const { what, bytes, method } of OVERLONG_ANSWERS) {
    test(`is refused with bytes behind its end: ${what}`, () => {
      for (const pieces of splits(bytes)) assert.equal(parse(pieces, method).malformed, true)
      assert.deepEqual(parse([bytesOf(bytes)], method).ends, [], 'called whole with a foreign byte behind it')
    })
  }

  for (const { what, bytes } of CUT_ANSWERS) {
    test(`is not whole when the connection closes within ${what}`, () => {
      for (const pieces of splits(bytes)) {
        const { malformed, ends, whole } = parse(pieces)
        assert.deepEqual([malformed, ends, whole], [false, [], false])
      }
    })
  }

  test('keeps field lines apart, in order, in their letter case', () => {
    const { heads } = parse([bytesOf('HTTP/1.1 204 \r\nSet-Cookie: a\r\nset-cookie:b\r\nX:  c d \r\n\r\n')])
    assert.deepEqual(heads[0]!.fields, ['Set-Cookie', 'a', 'set-cookie', 'b', 'X', 'c d'])
  })

  test('tells interim answers with their fields, before the answer', () => {
    const { informational } = parse([bytesOf('HTTP/1.1 103 Hi\r\nLink: </a>\r\n\r\nHTTP/1.1 204 \r\n\r\n')])
    assert.deepEqual(informational, [[103, ['Link', '</a>']]])
  })

  test('keeps the announced length where no body follows', () => {
    assert.equal(
      parse([bytesOf('HTTP/1.1 200 \r\nContent-Length: 99\r\n\r\n')], 'HEAD').heads[0]!.contentLength,
      99,
    )
    assert.equal(parse([bytesOf('HTTP/1.1 304 \r\nContent-Length: 99\r\n\r\n')]).heads[0]!.contentLength, 99)
  })

  test('may follow another on the same connection, and must be asked for', () => {
    const statuses: number[] = []
    const parser = new ResponseParser({
      onInformational: () => {},
      onHead: ({ status }) => statuses.push(status),
      onUpgrade() {},
      onData: () => {},
      onEnd: () => {},
    })
    parser.begin('GET')
    parser.execute(bytesOf('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n'))
    parser.begin('GET')
    parser.execute(bytesOf('HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'))
    assert.deepEqual(statuses, [200, 201])
    assert.throws(() => parser.execute(bytesOf('HTTP/1.1 204 \r\n\r\n')), MalformedMessage)
  })
})

describe('the head of an upstream answer', () => {
  const headOf = (length: number): string => {
    const start = 'HTTP/1.1 204 \r\nX: '
    return `${start}${'x'.repeat(length - start.length)}\r\n\r\n`
  }

  test('may be as long as the limit, and no longer, wherever its last bytes are split', () => {
    for (let cut = 0; cut <= 5; cut++) {
      for (const [length, malformed] of [
        [MAX_HEAD_BYTES, false],
        [MAX_HEAD_BYTES + 1, true],
      ] as const) {
        const bytes = bytesOf(headOf(length))
        const pieces = [bytes.subarray(0, bytes.length - cut), bytes.subarray(bytes.length - cut)]
        assert.equal(parse(pieces).malformed, malformed, `${length} bytes, the last ${cut} apart`)
      }
    }
  })

  test('is refused before its end when it grows past the limit', () => {
    assert.equal(parse(Array.from({ length: 40 }, () => bytesOf('X: y\r\n'.repeat(400)))).malformed, true)
  })
})

describe('the parser of upstream answers', () => {
  const corpus = [...GOOD_ANSWERS, ...BAD_ANSWERS, ...OVERLONG_ANSWERS].map(({ bytes }) => bytesOf(bytes))
  const cuts = fc.array(fc.nat(), { maxLength: 6 })

  function agrees(bytes: Buffer, places: readonly number[]): void {
    const inOne = parse([bytes])
    const inPieces = parse(piecesOf(bytes, places))
    assert.equal(inPieces.malformed, inOne.malformed)
    if (!inOne.malformed) assert.deepEqual(inPieces, inOne)
  }

  test('throws nothing but MalformedMessage and does not depend on splits, for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), cuts, (bytes, at) => agrees(Buffer.from(bytes), at)),
    )
  })

  test('throws nothing but MalformedMessage and does not depend on splits, for damaged answers', () => {
    const damaged = fc
      .tuple(
        fc.constantFrom(...corpus),
        fc.nat(),
        fc.nat({ max: 3 }),
        fc.string({ unit: 'binary-ascii', maxLength: 4 }),
      )
      .map(([bytes, at, cut, text]) => {
        const from = at % (bytes.length + 1)
        return Buffer.concat([bytes.subarray(0, from), bytesOf(text), bytes.subarray(from + cut)])
      })
    fc.assert(fc.property(damaged, cuts, agrees), { numRuns: 2_000 })
  })
})
