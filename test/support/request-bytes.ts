/** Requests as clients send them, and nearly so: bytes to hold parsers against each other with. */

import fc from 'fast-check'

/** What parsers have disagreed on. */
const ODD_BYTES = [
  ...['\r', '\n', '\r\n', '\0', '\t', ' ', '\x0b', '\x0c', '\x1b', '\x7f', '\x80', '\x85', '\xa0', '\xff'],
  ...[':', ';', ',', '"', '=', '/', '#', '?', '+', '-', '_', '0', 'a', 'F', '\r\n\r\n', '\n\n', '\r\r'],
]
const oddByte = fc.constantFrom(...ODD_BYTES)

/** Mostly the first, at times one of the others. */
function mostly<T>(weight: number, usual: fc.Arbitrary<T>, ...others: fc.Arbitrary<T>[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight, arbitrary: usual },
    ...others.map(arbitrary => ({ weight: 1, arbitrary })),
  ) as fc.Arbitrary<T>
}

const text = (...texts: string[]): fc.Arbitrary<string> => fc.constantFrom(...texts)
const textOf = (characters: string, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...characters), maxLength })

const PRINTABLE = String.fromCharCode(...Array.from({ length: 94 }, (_, index) => 0x21 + index))
const TOKEN = "!#$%&'*+-.^_`|~09azAZ"

const method = mostly(
  30,
  text('GET', 'POST', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'),
  text('TRACE', 'get', 'GET\t', 'G\0T', '', 'GET:', 'PRI', '\xa0GET', 'BREW', ' GET', '"GET"'),
)
const target = mostly(
  20,
  fc.oneof(
    text('/', '/a?b=c', '/a/b;c', '//a', '/?', '/a?b?c', '/%', '/a#b', '/a#b#c?d'),
    textOf(PRINTABLE, 12).map(path => `/${path}`),
    text('http://a/b', 'HTTP://a:80', 'https://a.b?c', 'http://[::1]:8080/x'),
  ),
  text('', 'a', '*', 'http:/a', 'a:80', '/a b', '/\xe9', '/\x7f', '/\t', '/\0', '?a', '/a\r', '/a\n'),
)
const version = mostly(
  30,
  text('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'),
  text(
    'HTTP/0.9',
    'HTTP/2.0',
    'HTTP/1.2',
    'http/1.1',
    'HTTP/1.1 ',
    'HTTP/01.1',
    'HTTP/1.10',
    'HTTP/1.',
    'HTTP/11',
  ),
  text(
    '',
    'HTTP',
    'RTSP/1.0',
    'ICE/1.0',
    'HTTP/1.1\t',
    'HTTP /1.1',
    'HTTP/1,1',
    'HTTPS/1.1',
    'HTTP/1.\x31\0',
  ),
)
const space = mostly(60, text(' '), text('  ', '\t', '', '\x0b', '\xa0', '\r', ' \r\n '))
const lineEnd = mostly(
  80,
  text('\r\n'),
  text('\n', '\r', '\r\r\n', '\n\r', '\0\r\n', ' \r\n', '\x85', '\r\n ', '\r\n\t', '\r\n\r\n', '\r \n', ''),
)

const name = mostly(
  20,
  fc.oneof(
    text('Host', 'Accept', 'X-A', 'x-a', 'Cookie', 'Expect', 'Upgrade', 'Trailer', 'TE', 'X-Forwarded-For'),
    textOf(TOKEN, 8).map(rest => `X${rest}`),
  ),
  text('', ' X', 'X ', 'X\t', '\tX', 'X Y', 'X\0', 'X(', 'X\xe9', '"X"', 'X\r', 'X\n', '\x7f', 'X[', 'X@'),
)
const value = mostly(
  20,
  fc.oneof(
    text('', 'a', '100-continue', 'websocket', 'a, b', 'a b\tc', '\xe9\xff\x80', 'trailers', ':', 'a: b'),
    textOf(`${PRINTABLE} \t`, 10),
  ),
  text('a\0', 'a\rb', 'a\nb', '\x7f', '\x1b', 'a\r\n b', 'a\r\n\tb', '\r\n b', '\x0b', '\x08', '\x1f'),
)
const outerSpace = mostly(6, text('', ' '), text('\t', '  \t ', '\x0b', '\x0c', '\xa0', '\r'))
const colon = mostly(60, text(':'), text('', ' :', '\t:', '::', ';', '\0:'))

const field = fc.tuple(name, colon, outerSpace, value, outerSpace, lineEnd).map(parts => parts.join(''))

const connection = fc
  .tuple(
    text('Connection: ', 'connection:', 'CONNECTION:\t', 'Proxy-Connection: '),
    text('keep-alive', 'close', 'Close', 'keep-alive, close', 'x', 'Keep-Alive,\tx', 'clos', 'close\t', ''),
  )
  .map(parts => `${parts.join('')}\r\n`)

/** The lines that say how long a body is; those that say it plainly come most often. */
function framing(body: string, chunks: string): fc.Arbitrary<{ lines: string; body: string }> {
  const length = String(body.length)
  const lengthName = mostly(
    15,
    text('Content-Length'),
    text('content-length', 'CONTENT-LENGTH', 'Content_Length', 'Content-Length '),
  )
  const lengthValue = mostly(
    15,
    text(length),
    text(
      `+${length}`,
      `-${length}`,
      `0${length}`,
      `00${length}`,
      `${length} `,
      ` ${length}`,
      `${length}\t`,
      `0x${length}`,
    ),
    text(
      `${length},${length}`,
      `${length}, 1`,
      `${length}.0`,
      `${length}e0`,
      '',
      '9007199254740993',
      '18446744073709551617',
    ),
    text(
      `${length}\0`,
      `"${length}"`,
      `${length}_`,
      `\x0b${length}`,
      `${length};`,
      `${length} ${length}`,
      `\xa0${length}`,
    ),
  )
  const codingName = mostly(
    15,
    text('Transfer-Encoding'),
    text('transfer-encoding', 'Transfer_Encoding', 'Transfer-Encoding\t', 'Transfer-Encodin'),
  )
  const codingValue = mostly(
    15,
    text('chunked'),
    text(
      'Chunked',
      'CHUNKED',
      ' chunked',
      'chunked ',
      'chunked\t',
      'xchunked',
      'chunked,',
      ',chunked',
      'chunkedchunked',
    ),
    text(
      'gzip',
      'gzip, chunked',
      'chunked, gzip',
      'chunked, chunked',
      'identity',
      'chunked;q=1',
      '',
      '"chunked"',
      'deflate',
    ),
    text(
      'chun\tked',
      '\x0bchunked',
      'chunked\0',
      '\xa0chunked',
      'chunked\x0c',
      'chunked\r',
      'chunked, identity',
    ),
  )
  const line = (header: fc.Arbitrary<string>, content: fc.Arbitrary<string>): fc.Arbitrary<string> =>
    fc.tuple(header, content, lineEnd).map(([left, right, end]) => `${left}: ${right}${end}`)
  const sized = line(lengthName, lengthValue)
  const coded = line(codingName, codingValue)
  const both = fc.tuple(sized, coded, fc.boolean())
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant({ lines: '', body: '' }) },
    { weight: 6, arbitrary: sized.map(lines => ({ lines, body })) },
    { weight: 8, arbitrary: coded.map(lines => ({ lines, body: chunks })) },
    { weight: 1, arbitrary: both.map(([a, b, first]) => ({ lines: first ? a + b : b + a, body: chunks })) },
    { weight: 1, arbitrary: fc.tuple(sized, sized).map(([a, b]) => ({ lines: a + b, body })) },
    { weight: 1, arbitrary: fc.tuple(coded, coded).map(([a, b]) => ({ lines: a + b, body: chunks })) },
  )
}

const extension = mostly(
  12,
  mostly(
    3,
    text(''),
    text(';a', ';a=b', ';a="b c"', ';a=b;c=d', ';a=""', ';a="b\\"c"', ';a=b;c', ';a="\xe9;\t"'),
  ),
  text(
    ' ',
    '\t',
    ' ;a',
    ';',
    ';;',
    '; a',
    ';a b',
    ';a =b',
    ';a= b',
    ';a=',
    ';a="b',
    ';a="b"c',
    ';=b',
    ';a=b c',
    ';\t',
  ),
  text(
    ';a\0',
    ';a\rb',
    ';a\nb',
    ';\xe9',
    ';a=\xe9',
    ';a=\x7f',
    ';a="\\',
    ';a="\x01"',
    ';a="b";',
    ';a=b;',
    'a',
    ' a',
    ';a=b=c',
    ';a,b',
  ),
)
const data = mostly(
  4,
  textOf('ab\r\n 0:', 20),
  text('GET /x HTTP/1.1\r\nHost: a\r\n\r\n', '0\r\n\r\n', '\0\xff', '\r\n', 'x'.repeat(300)),
)
const chunk = fc
  .tuple(
    data,
    mostly(20, text('', '', '0', '000'), text('0x', '+', '-', ' ', '\t', '00000000000000')),
    extension,
    lineEnd,
    lineEnd,
    fc.boolean(),
  )
  .map(([bytes, prefix, ext, sizeEnd, dataEnd, upper]) => {
    const size = bytes.length.toString(16)
    const content = bytes === '' ? '' : bytes + dataEnd
    return bytes === '' ? '' : `${prefix}${upper ? size.toUpperCase() : size}${ext}${sizeEnd}${content}`
  })
const trailer = mostly(
  12,
  mostly(3, text('', '', ''), text('X-T: a\r\n', 'X-T:\r\nX-U: b\t\r\n', 'Content-MD5: a\r\nx-t: b\r\n')),
  field,
  text(
    'X-T : a\r\n',
    'X-T\r\n',
    'X-T: a\r\n b\r\n',
    ' X-T: a\r\n',
    'X-T: a\rb\r\n',
    'X-T: a\0\r\n',
    ': a\r\n',
  ),
  text(
    'Host: b\r\n',
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Connection: close\r\n',
    'Trailer: x\r\n',
  ),
)
const chunks = fc
  .tuple(
    fc.array(chunk, { maxLength: 4 }),
    mostly(20, text('0'), text('00', '000', '0;a', '0 ', '-0', '')),
    trailer,
    lineEnd,
    lineEnd,
  )
  .map(([parts, last, section, lastEnd, end]) => `${parts.join('')}${last}${lastEnd}${section}${end}`)

/** One request, whole or not, good or bad. */
export const requestText: fc.Arbitrary<string> = fc
  .tuple(data, chunks)
  .chain(([body, coded]) => framing(body, coded))
  .chain(({ lines, body }) =>
    fc
      .tuple(
        mostly(20, text(''), text('\r\n', '\r\n\r\n', '\n', '\r', ' ', '\0', '\r\n\r\n\r\n')),
        fc.tuple(method, space, target, space, version, lineEnd),
        fc.array(field, { maxLength: 3 }),
        mostly(3, text(''), connection),
        fc.boolean(),
        lineEnd,
      )
      .map(([before, line, fields, persistence, framedFirst, end]) => {
        const section = framedFirst ? lines + fields.join('') : fields.join('') + lines
        return `${before}${line.join('')}${persistence}${section}${end}${body}`
      }),
  )

interface Change {
  readonly at: number
  readonly how: 'replace' | 'insert' | 'delete' | 'case' | 'repeat'
  readonly odd: string
}

/** Changes to a few bytes, anywhere. */
const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(),
  how: fc.constantFrom('replace', 'insert', 'delete', 'case', 'repeat'),
  odd: oddByte,
})

function changed(bytes: string, changes: readonly Change[]): string {
  let result = bytes
  for (const { at, how, odd } of changes) {
    const place = result.length === 0 ? 0 : at % result.length
    const before = result.slice(0, place)
    const one = result.slice(place, place + 1)
    const after = result.slice(place + 1)
    if (how === 'replace') result = before + odd + after
    else if (how === 'insert') result = before + odd + one + after
    else if (how === 'delete') result = before + after
    else if (how === 'repeat') result = before + one + one + after
    else result = before + (one === one.toLowerCase() ? one.toUpperCase() : one.toLowerCase()) + after
  }
  return result
}

/** What one connection carries: a few requests, with a few bytes changed. Latin-1. */
export const connectionText: fc.Arbitrary<string> = fc
  .tuple(
    fc.array(requestText, { minLength: 1, maxLength: 4 }),
    mostly(3, fc.constant<Change[]>([]), fc.array(change, { minLength: 1, maxLength: 2 })),
  )
  .map(([requests, changes]) => changed(requests.join(''), changes))

/** Where bytes may be cut into reads. */
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.nat(), { maxLength: 6 })

export function pieces(bytes: Buffer, at: readonly number[]): Buffer[] {
  const ends = [...new Set([...at.map(cut => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b)
  return ends
    .map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1]!, end))
    .filter(({ length }) => length > 0)
}
