import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { beyond, llhttp, type Reading } from '../../test/support/llhttp.ts'
import { connectionText, cuts, pieces } from '../../test/support/request-bytes.ts'
import { type Reader, readAll, reader } from '../../test/support/request-reader.ts'
import type { Malformation } from './malformed.ts'
import { MAX_REQUEST_HEAD_BYTES } from './request-parser.ts'

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')
const readText = (text: string): Reader => readAll([bytesOf(text)])
const byteByByte = (bytes: Buffer): Buffer[] =>
  Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
const outcome = ({ requests, fault }: Reading) => ({ requests, refused: fault !== null })

const oracle = llhttp()
after(() => oracle.close())

describe('held against llhttp', () => {
  /*
   * What this parser refuses and llhttp takes, with reason:
   * - CR or LF alone in front of a request line, and LF alone anywhere
   * - HTTP/0.9, HTTP/2.0, RTSP and ICE
   * - Transfer-Encoding in HTTP/1.0, on two lines, with empty list elements, or with a coding before `chunked`
   * - chunk sizes of more than 13 digits, zeros included
   * - 64 trailer fields, 16 KiB of them, 4 KiB of extensions of a chunk, 32 KiB of a head
   * And llhttp stops behind `Connection: close` in a trailer section, where it has no meaning.
   */
  test('takes nothing that llhttp refuses or reads otherwise', { timeout: 60_000 }, async () => {
    const tally = { whole: 0, chunked: 0, trailers: 0, pipelined: 0, refused: 0 }
    const one = async (text: string, at: number[]): Promise<void> => {
      const bytes = bytesOf(text)
      const ours = readAll(pieces(bytes, at))
      assert.equal(beyond(ours, await oracle.read([bytes])), null)
      const whole = ours.requests.filter(request => request.whole)
      tally.whole += whole.length
      tally.chunked += whole.filter(({ fields }) => fields.includes('chunked')).length
      tally.trailers += whole.filter(({ trailers }) => trailers.length > 0).length
      if (whole.length > 1) tally.pipelined++
      if (ours.fault !== null) tally.refused++
    }
    await fc.assert(fc.asyncProperty(connectionText, cuts, one), { numRuns: 2_000 })
    const { whole, chunked, trailers, pipelined, refused } = tally
    assert.ok(whole > 500 && chunked > 100 && trailers > 20 && pipelined > 30, JSON.stringify(tally))
    assert.ok(refused > 300, JSON.stringify(tally))
  })

  const chunked = (body: string): string =>
    `POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`
  const inDispute: Record<string, string> = {
    'white space behind a chunk size': chunked('2 \r\nab\r\n0\r\n\r\n'),
    'white space behind the last chunk size': chunked('2\r\nab\r\n0\t\r\n\r\n'),
    'white space in front of an extension': chunked('2 ;a\r\nab\r\n0\r\n\r\n'),
    'an extension without a name': chunked('2;\r\nab\r\n0\r\n\r\n'),
    'an extension that is no token': chunked('2;a b\r\nab\r\n0\r\n\r\n'),
    'an extension that is not ASCII': chunked('2;\xe9\r\nab\r\n0\r\n\r\n'),
    'an extension whose quotes stay open': chunked('2;a="b\r\nab\r\n0\r\n\r\n'),
    'an extension that goes on behind its quotes': chunked('2;a="b"c\r\nab\r\n0\r\n\r\n'),
    'an extension with two values': chunked('2;a=b=c\r\nab\r\n0\r\n\r\n'),
    'a trailer that ends with LF alone': chunked('2\r\nab\r\n0\r\nX-T: a\n\r\n'),
    'Content-Length in the trailer section': chunked('2\r\nab\r\n0\r\nContent-Length: 2\r\n\r\n'),
    'Transfer-Encoding in the trailer section': chunked('2\r\nab\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'),
    'a tab behind chunked': chunked('0\r\n\r\n').replace('chunked', 'chunked\t'),
  }
  for (const [name, text] of Object.entries(inDispute)) {
    test(`refuses ${name}, as llhttp does`, async () => {
      const theirs = await oracle.read([bytesOf(text)])
      assert.notEqual(theirs.fault, null, 'llhttp takes it')
      assert.equal(beyond(readText(text), theirs), null)
    })
  }
})

describe('a request', () => {
  const length = 'POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n'
  const coded = 'POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n'
  const lines = (count: number): string => Array(count).fill('A: b\r\n').join('')
  const taken: Record<string, { text: string; count?: number; body?: string }> = {
    'without a field': { text: 'GET / HTTP/1.1\r\n\r\n' },
    'behind empty lines': {
      text: '\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n\r\n',
      count: 2,
    },
    'whose method begins like a version': { text: 'HEAD / HTTP/1.1\r\n\r\n' },
    'with every byte that a value may have': { text: `GET / HTTP/1.1\r\nA: ${valueBytes()}\r\n\r\n` },
    'with a body that looks like requests': {
      text: `${length}GET /GET / HTTP/1.1\r\n\r\n`,
      count: 2,
      body: 'GET /',
    },
    'with leading zeros in its length': { text: `${length.replace('5', '0005')}hello`, body: 'hello' },
    'with a length of nothing': { text: `${length.replace('5', '0')}GET / HTTP/1.1\r\n\r\n`, count: 2 },
    'with an empty body in chunks': { text: `${coded}0\r\n\r\nGET / HTTP/1.1\r\n\r\n`, count: 2 },
    'with chunks of chunks': {
      text: `${coded}5\r\n0\r\n\r\n\r\nA;a;b=c;d="e\\"\t;"\r\n0123456789\r\n000\r\n\r\n`,
      body: '0\r\n\r\n0123456789',
    },
    'with a trailer': {
      text: `${coded}1\r\na\r\n0\r\nX-T: b\r\nX-T:\r\n\r\nGET / HTTP/1.1\r\n\r\n`,
      count: 2,
      body: 'a',
    },
    'with 64 trailers': { text: `${coded}0\r\n${lines(64)}\r\n` },
    'with the text of another in a value': {
      text: 'GET / HTTP/1.1\r\nA: GET / HTTP/1.1 Content-Length: 5\r\n\r\n',
    },
  }
  for (const [name, { text, count = 1, body = '' }] of Object.entries(taken)) {
    test(`${name} is taken, and by llhttp for the same`, async () => {
      const ours = readText(text)
      assert.equal(ours.fault, null)
      assert.equal(ours.requests.length, count)
      assert.equal(ours.requests[0]!.body, body)
      assert.ok(ours.requests.every(({ whole }) => whole))
      assert.equal(beyond(ours, await oracle.read([bytesOf(text)])), null)
      assert.deepEqual(outcome(readAll(byteByByte(bytesOf(text)))), outcome(ours))
    })
  }

  const refused: Record<string, string> = {
    'that is an answer': 'HTTP/1.1 200 OK\r\n\r\n',
    'with a fold behind chunked': 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n abc\r\n\r\n',
    'with a fold behind its length': 'POST / HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n\r\n',
    'with CR for the hyphen of a name': 'POST / HTTP/1.1\r\nContent\rLength: 1\r\n\r\na',
    'with CR for the end of its line': 'GET / HTTP/1.1\rHost: a\r\n\r\n',
    'with a letter behind the size of a chunk': `${coded}2g\r\nab\r\n0\r\n\r\n`,
    'with a size after a size': `${coded}2\r2\r\nab\r\n0\r\n\r\n`,
    'whose chunk ends without CRLF': `${coded}2\r\nab0\r\n\r\n`,
    'whose body begins before the empty line': 'POST / HTTP/1.1\r\nContent-Length: 5\r\nhello\r\n\r\n',
    'whose last chunk is followed by another': `${coded}0\r\n2\r\nab\r\n0\r\n\r\n`,
    'with 65 trailers': `${coded}0\r\n${lines(65)}\r\n`,
    'with a version of two digits': 'GET / HTTP/1.11\r\n\r\n',
    'with a fullwidth digit in its version': 'GET / HTTP/1.\xb1\r\n\r\n',
    'with a colon for its first field': 'GET / HTTP/1.1\r\n:\r\n\r\n',
    'with Transfer-Encoding in HTTP/1.0': `${coded.replace('1.1', '1.0')}0\r\n\r\n`,
    'with an empty Transfer-Encoding beside its length':
      'POST / HTTP/1.1\r\nTransfer-Encoding:\r\nContent-Length: 0\r\n\r\n',
  }
  for (const [name, text] of Object.entries(refused)) {
    test(`${name} is refused, whole or byte by byte`, () => {
      for (const one of [readText(text), readAll(byteByByte(bytesOf(text)))]) {
        assert.notEqual(one.fault, null)
        assert.ok(!one.requests.some(({ whole }) => whole))
      }
    })
  }

  test('is not whole before its last byte, and nothing is idle but what is between requests', () => {
    for (const text of [
      `${length}hello`,
      `${coded}5\r\nhello\r\n0\r\nX-T: a\r\n\r\n`,
      'GET / HTTP/1.1\r\nA: b\r\n\r\n',
    ]) {
      const one = reader()
      for (const byte of byteByByte(bytesOf(text))) {
        assert.ok(one.requests.every(({ whole }) => !whole))
        one.read(byte)
        assert.equal(one.parser.idle, one.requests[0]?.whole === true)
      }
      assert.equal(one.parser.idle, true)
    }
  })
})

function valueBytes(): string {
  const codes = Array.from({ length: 256 }, (_, code) => code).filter(code => code >= 0x21 && code !== 0x7f)
  return `${String.fromCharCode(...codes)} \t${String.fromCharCode(0xff)}`
}

test('reads the same however the bytes are cut', () => {
  fc.assert(
    fc.property(connectionText, cuts, (text, at) => {
      const bytes = bytesOf(text)
      const expected = outcome(readAll([bytes]))
      assert.deepEqual(outcome(readAll(pieces(bytes, at))), expected)
      assert.deepEqual(outcome(readAll(byteByByte(bytes))), expected)
    }),
    { numRuns: 1_000 },
  )
})

describe('a header section that is the same as the last one', () => {
  const base = ['Host: a.example', 'Accept: */*', 'X-A: b', 'Cookie: c=d']
  const framed = [
    [],
    ['Content-Length: 2'],
    ['Content-Length: 3'],
    ['Transfer-Encoding: chunked'],
    ['Content-Length: 0'],
  ]
  const bodies = ['', 'ab', 'abc', '2\r\nab\r\n0\r\n\r\n', 'GET /x HTTP/1.1\r\n\r\n', '0\r\nX-T: a\r\n\r\n']
  const lines = [
    'GET / HTTP/1.1',
    'POST /b HTTP/1.1',
    'HEAD /b?c HTTP/1.0',
    'GET / HTTP/1.0',
    'GET /\t HTTP/1.1',
  ]
  lines.push(
    'GET  / HTTP/1.1',
    'GET / HTTP/1.2',
    '\r\nGET /c HTTP/1.1',
    'GET / HTTP/1.1\r\nX-B: c',
    'GET /\n HTTP/1.1',
  )
  const section = fc
    .tuple(fc.constantFrom(...framed), fc.integer({ min: 1, max: 4 }), fc.boolean())
    .map(([framing, count, first]) => {
      const fields = base.slice(0, count)
      return (first ? [...framing, ...fields] : [...fields, ...framing]).map(field => `${field}\r\n`).join('')
    })
  /** Another byte somewhere, or another letter case. */
  const near = fc.tuple(fc.nat(), fc.constantFrom('\0', '\r', '\n', 'z', ' ', '5', 'case'))
  const message = fc.record({
    /** Which section; many messages have the same one. */
    which: fc.nat(2),
    line: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...lines.slice(0, 4)) },
      fc.constantFrom(...lines),
    ),
    fits: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
    body: fc.constantFrom(...bodies),
    lineEnd: fc.oneof(
      { weight: 40, arbitrary: fc.constant('\r\n') },
      fc.constantFrom('x\n', '\n', '\r\r\n', '\r'),
    ),
    near: fc.oneof({ weight: 8, arbitrary: fc.constant(null) }, near),
    /** It comes in the same read as the one before. */
    joined: fc.boolean(),
    forgotten: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, fc.constant(true)),
  })
  const connection = fc.tuple(
    fc.array(section, { minLength: 3, maxLength: 3 }),
    fc.array(message, { minLength: 2, maxLength: 12 }),
  )

  function changed(text: string, [place, how]: [number, string]): string {
    const at = place % text.length
    const one = text[at]!
    const other = how !== 'case' ? how : one === one.toUpperCase() ? one.toLowerCase() : one.toUpperCase()
    return text.slice(0, at) + other + text.slice(at + 1)
  }

  function bodyFor(fields: string): string {
    const [, size] = /Content-Length: (\d)/.exec(fields) ?? []
    if (size !== undefined) return 'xyz'.slice(0, Number(size))
    return fields.includes('chunked') ? '3\r\nxyz\r\n0\r\nX-T: a\r\n\r\n' : ''
  }

  test('is read as it was, and any other as if there had been none before', () => {
    let recognised = 0
    let changes = 0
    fc.assert(
      fc.property(connection, ([sections, messages]) => {
        const warm = reader()
        const all: Buffer[] = []
        let pending = ''
        for (const [
          index,
          { which, line, lineEnd, fits, body, near: change, forgotten },
        ] of messages.entries()) {
          const fields = sections[which]!
          const told = change === null ? fields : changed(fields, change)
          pending += `${line}${lineEnd}${told}\r\n${fits ? bodyFor(fields) : body}`
          if (messages[index + 1]?.joined === true) continue
          all.push(bytesOf(pending))
          if (forgotten && warm.parser.idle) warm.parser.forget()
          warm.read(bytesOf(pending))
          pending = ''
        }
        // In pieces nothing is recognised.
        const cold = readAll(byteByByte(Buffer.concat(all)))
        assert.equal(new Set(cold.headers).size, cold.headers.length)
        assert.deepEqual(outcome(warm), outcome(cold))
        for (let i = 1; i < warm.headers.length; i++)
          if (warm.headers[i] === warm.headers[i - 1]) recognised++
        if (messages.some(({ near }) => near !== null)) changes++
      }),
      { numRuns: 2_000 },
    )
    assert.ok(
      recognised > 100 && changes > 200,
      `${recognised} were recognised, ${changes} had others near them`,
    )
  })

  test('gives the same object, which no other section ever gives', () => {
    const one = reader()
    const fields = 'Host: a\r\nX-A: b\r\n\r\n'
    const others = [
      'Host: a\r\nX-A: b\r\nX-B: c\r\n\r\n',
      'Host: a\r\n\r\n',
      'host: a\r\nX-A: b\r\n\r\n',
      '\r\n',
    ]
    for (let round = 0; round < 3; round++) {
      for (const told of [fields, ...others]) {
        for (let times = 0; times < 4; times++) one.read(bytesOf(`GET /${round} HTTP/1.1\r\n${told}`))
        const latest = one.headers.slice(-2)
        assert.equal(latest[0] === latest[1], told !== '\r\n', JSON.stringify(told))
        assert.equal(one.headers.slice(0, -4).includes(latest[0]!), false, JSON.stringify(told))
      }
    }
    assert.equal(one.fault, null)
  })

  test('is what was sent, whatever was done to the fields of the request before', () => {
    const one = reader()
    const sent = ['Host', 'a', 'X-A', 'b']
    for (let times = 0; times < 5; times++) {
      one.read(bytesOf('GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n'))
      assert.deepEqual(one.requests.at(-1)!.fields, sent, `request ${times}`)
      const lines = one.headers.at(-1)!.lines as string[]
      try {
        lines[3] = 'changed'
        lines.push('X-Company-ID', 'another')
      } catch (error) {
        // Nobody may: that is as good
        assert.ok(error instanceof TypeError)
      }
    }
  })
})

describe('is bounded', () => {
  /** Feeds the same again and again. @returns how many bytes were taken before it was too much */
  function takenOf(start: string, piece: Buffer): { taken: number; kind: Malformation | null } {
    const one = readText(start)
    let taken = 0
    for (; one.fault === null && taken < 1_000_000; taken += piece.length) one.read(piece)
    return { taken: taken - piece.length, kind: one.kind }
  }
  const coded = 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n'
  const endless: Record<string, { start: string; more: string; most: number; kind: Malformation }> = {
    'a request line': { start: 'GET /', more: 'x', most: MAX_REQUEST_HEAD_BYTES, kind: 'target' },
    'a field name': { start: 'GET / HTTP/1.1\r\n', more: 'x', most: MAX_REQUEST_HEAD_BYTES, kind: 'head' },
    'a field value': {
      start: 'GET / HTTP/1.1\r\nA: ',
      more: 'x',
      most: MAX_REQUEST_HEAD_BYTES,
      kind: 'head',
    },
    fields: { start: 'GET / HTTP/1.1\r\n', more: 'A:b\r\n', most: MAX_REQUEST_HEAD_BYTES, kind: 'head' },
    'an extension': { start: `${coded}1;`, more: 'x', most: 4_096, kind: 'chunk' },
    'a trailer': { start: `${coded}0\r\nA: `, more: 'x', most: 16_384, kind: 'chunk' },
    trailers: { start: `${coded}0\r\n`, more: 'A:b\r\n', most: 16_384, kind: 'chunk' },
  }
  for (const [name, { start, more, most, kind }] of Object.entries(endless)) {
    for (const size of [more.length, 60_000]) {
      test(`${name} that never ends, in reads of ${size} bytes`, () => {
        const result = takenOf(start, bytesOf(more.repeat(size / more.length)))
        assert.ok(result.taken <= most, `${result.taken} bytes`)
        assert.equal(result.kind, kind)
      })
    }
  }

  test('a head: as many bytes as the limit and not one more, in one read or in two', () => {
    for (const over of [-1, 0, 1, 2]) {
      const line = 'GET / HTTP/1.1\r\nA: '
      const bytes = bytesOf(`${line.padEnd(MAX_REQUEST_HEAD_BYTES + over, 'x')}\r\n\r\n`)
      for (const at of [[], [20], [MAX_REQUEST_HEAD_BYTES], [bytes.length - 1]]) {
        const one = readAll(pieces(bytes, at))
        assert.equal(one.fault === null, over <= 0, `${over} over, cut at ${at}`)
        assert.equal(one.requests.length, over <= 0 ? 1 : 0)
      }
    }
  })

  test('a request line in front of a header section that is known', () => {
    const one = reader()
    for (let times = 0; times < 3; times++) one.read(bytesOf('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
    one.read(bytesOf(`GET /${'x'.repeat(MAX_REQUEST_HEAD_BYTES)} HTTP/1.1\r\nHost: a\r\n\r\n`))
    assert.equal(one.requests.length, 3)
    assert.notEqual(one.fault, null)
  })

  test('the time that a trailer section takes: it grows with its length, not with the square of it', () => {
    const section = (length: number): Buffer => bytesOf(`${coded}0\r\nA: ${'x'.repeat(length)}\r\n\r\n`)
    const long = [section(16_000)]
    const short = Array<Buffer>(16).fill(section(1_000))
    const cost = (requests: readonly Buffer[]): number => {
      const times = Array.from({ length: 10 }, () => {
        const started = performance.now()
        assert.equal(readAll(requests).fault, null)
        return performance.now() - started
      })
      return Math.min(...times)
    }
    cost(short)
    const [one, sixteen] = [cost(long), cost(short)]
    assert.ok(
      one < 4 * sixteen,
      `${one.toFixed(2)} ms for one, ${sixteen.toFixed(2)} ms for as many bytes in 16`,
    )
  })
})
