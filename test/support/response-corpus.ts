/** Answers of upstreams, good and bad, for whatever has to read them. Text is latin1. */

export interface GoodAnswer {
  readonly what: string
  readonly method?: string
  readonly bytes: string
  readonly status: number
  readonly body: string
  readonly keepAlive: boolean
  readonly trailers?: readonly string[]
}

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
const five = 'Content-Length: 5\r\n'

export const GOOD_ANSWERS: readonly GoodAnswer[] = [
  good('a length', `HTTP/1.1 200 OK\r\n${five}\r\nhello`, 'hello'),
  good('length 0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', ''),
  good('Connection: close', `HTTP/1.1 200 OK\r\n${five}Connection: Close\r\n\r\nhello`, 'hello', {
    keepAlive: false,
  }),
  good('close among options', `HTTP/1.1 200 OK\r\n${five}Connection: x, close ,y\r\n\r\nhello`, 'hello', {
    keepAlive: false,
  }),
  good('HTTP/1.0', `HTTP/1.0 200 OK\r\n${five}\r\nhello`, 'hello', { keepAlive: false }),
  good('HTTP/1.0 kept alive', `HTTP/1.0 200 OK\r\n${five}Connection: Keep-Alive\r\n\r\nhello`, 'hello'),
  good('until close', 'HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello\r\n\r\nHTTP', 'hello\r\n\r\nHTTP', {
    keepAlive: false,
  }),
  good('chunks', `${chunked}5\r\nhello\r\nA\r\n, worlds!\n\r\n0\r\n\r\n`, 'hello, worlds!\n'),
  good('no chunk at all', `${chunked}0\r\n\r\n`, ''),
  good('the coding in capitals', `${chunked.replace('chunked', 'CHUNKED')}1\r\n\r\r\n0\r\n\r\n`, '\r'),
  good('chunk extensions', `${chunked}005;a=b;c="d e"\r\nhello\r\n0;last\r\n\r\n`, 'hello'),
  good('trailers', `${chunked}5\r\nhello\r\n0\r\nX-Sum: 1\r\nx-sum:\t2 \r\n\r\n`, 'hello', {
    trailers: ['X-Sum', '1', 'x-sum', '2'],
  }),
  good('204', 'HTTP/1.1 204 No Content\r\nX: y\r\n\r\n', '', { status: 204 }),
  good('304 with a length', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n', '', { status: 304 }),
  good('HEAD with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n', '', { method: 'HEAD' }),
  good('HEAD with chunks', chunked, '', { method: 'HEAD' }),
  good('100 before it', `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n${five}\r\nhello`, 'hello', {
    status: 201,
  }),
  good(
    '103 twice before it',
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 \r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\n${five}\r\nhello`,
    'hello',
  ),
  good('no reason', `HTTP/1.1 200 \r\n${five}\r\nhello`, 'hello'),
  good('no space for a reason', `HTTP/1.1 200\r\n${five}\r\nhello`, 'hello'),
  good('no fields, until close', 'HTTP/1.0 200 OK\r\n\r\nx', 'x', { keepAlive: false }),
  good('Latin-1 text', `HTTP/1.1 200 Tr\xe8s bien\r\nX: \xe9\r\n${five}\r\n\xff\x00\r\n\r`, '\xff\x00\r\n\r'),
  good('space around values', `HTTP/1.1 200 OK\r\nX:\t  \r\nContent-Length: \t5 \t\r\n\r\nhello`, 'hello'),
]

export interface BadAnswer {
  readonly what: string
  readonly bytes: string
}

const head = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}\r\n\r\nhello`

/** Refused as soon as the last byte is in, at the latest, and never taken for whole. */
export const BAD_ANSWERS: readonly BadAnswer[] = [
  ...[
    'HTTP/1.1 099 Low',
    'HTTP/1.1 2000 High',
    'HTTP/1.1 600 High',
    'HTTP/1.1 20 Short',
    'HTTP/1.1 2x0 OK',
    'HTTP/1.1 +20 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1\t200 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1 200OK',
    'HTTP/1.2 200 OK',
    'HTTP/2.0 200 OK',
    'HTTP/11 200 OK',
    'http/1.1 200 OK',
    'ICY 200 OK',
    ' HTTP/1.1 200 OK',
    '\nHTTP/1.1 200 OK',
    '',
    'HTTP/1.1 200 O\0K',
    'HTTP/1.1 200 O\x1bK',
    'HTTP/1.1 200 O\rK',
    'HTTP/1.1 200 O\nK',
    'HTTP/1.1 101 Switching Protocols',
  ].map(line => bad(`status line ${JSON.stringify(line)}`, `${line}\r\nContent-Length: 5\r\n\r\nhello`)),
  ...['+5', '-5', '0x5', '5,5', '5, 6', '', '1_0', '5 5', '5e0', '5.0', '\xb25', '18446744073709551621'].map(
    value => bad(`Content-Length ${JSON.stringify(value)}`, head(`Content-Length: ${value}`)),
  ),
  bad('two lengths', head('Content-Length: 5\r\nContent-Length: 6')),
  bad('the same length twice', head('Content-Length: 5\r\ncontent-length: 5')),
  ...[
    'gzip',
    'xchunked',
    'chunked, gzip',
    'gzip, chunked',
    'chunked, chunked',
    'chunked;q=1',
    '"chunked"',
    '',
  ].map(value => bad(`Transfer-Encoding ${JSON.stringify(value)}`, head(`Transfer-Encoding: ${value}`))),
  bad('two codings', head('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked')),
  bad('a length and a coding', head('Content-Length: 5\r\nTransfer-Encoding: chunked')),
  bad('a coding and a length', head('Transfer-Encoding: chunked\r\nContent-Length: 5')),
  bad('a coding in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
  ...[
    'X : y',
    'X\t: y',
    'X\xa0: y',
    ' X: y',
    'X: y\r\n folded: z',
    'X: y\r\n\tfolded',
    'X',
    ': y',
    'X(: y',
    'X: y\0z',
    'X: y\x07z',
    'X: y\x7fz',
    'X: y\rz: z',
    'X: y\nContent-Length: 5',
    'X: y\r\r\nZ: z',
  ].map(line => bad(`field line ${JSON.stringify(line)}`, head(`${line}\r\nContent-Length: 5`))),
  ...['0x5', '+5', '-5', ' 5', '', 'g', '5 6', '12345678901234567', '5\n', ';a', '5;a\nb', '5;a\rb'].map(
    size => bad(`chunk size ${JSON.stringify(size)}`, `${chunked}${size}\r\nhello\r\n0\r\n\r\n`),
  ),
  bad('a head of LF only', 'HTTP/1.1 200 OK\nContent-Length: 5\n\nhello'),
  bad('a chunk size behind LF only', `${chunked}5\nhello\r\n0\r\n\r\n`),
  bad('chunk data longer than its size', `${chunked}4\r\nhello\r\n0\r\n\r\n`),
  bad('chunk data before LF only', `${chunked}5\r\nhello\n0\r\n\r\n`),
  ...['X', 'X : y', ' X: y', ': y', 'X: y\0z', 'X: y\x1bz', 'X: y\x7fz', 'X: y\nZ: z', 'X: y\rz'].map(line =>
    bad(`trailer ${JSON.stringify(line)}`, `${chunked}5\r\nhello\r\n0\r\n${line}\r\n\r\n`),
  ),
  bad('17 interim answers', `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(17)}HTTP/1.1 204 Done\r\n\r\n`),
  bad('513 fields', head('X: y\r\n'.repeat(513).slice(0, -2))),
]

/** Good answers with bytes behind their end, which nobody asked for. */
export const OVERLONG_ANSWERS: readonly (BadAnswer & { readonly method?: string })[] = [
  bad('a length', `HTTP/1.1 200 OK\r\n${five}\r\nhello!`),
  bad('length 0', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n'),
  bad('chunks', `${chunked}5\r\nhello\r\n0\r\n\r\n\n`),
  bad('204', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello'),
  bad('304', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello'),
  { ...bad('HEAD', `HTTP/1.1 200 OK\r\n${five}\r\nhello`), method: 'HEAD' },
  bad('a second answer', `HTTP/1.1 200 OK\r\n${five}\r\nhelloHTTP/1.1 200 OK\r\n${five}\r\nhello`),
]

/** What has arrived is good, but it is not all. */
export const CUT_ANSWERS: readonly BadAnswer[] = [
  bad('a head', 'HTTP/1.1 200 OK\r\nContent-Len'),
  bad('a status line', 'HTTP'),
  bad('a body with a length', `HTTP/1.1 200 OK\r\n${five}\r\nhell`),
  bad('a chunk', `${chunked}5\r\nhel`),
  bad('the last chunk', `${chunked}5\r\nhello\r\n`),
  bad('the end of trailers', `${chunked}0\r\nX: y\r\n`),
  bad('the answer after 103', 'HTTP/1.1 103 Early Hints\r\n\r\n'),
]

function good(what: string, bytes: string, body: string, over: Partial<GoodAnswer> = {}): GoodAnswer {
  return { what, bytes, body, status: 200, keepAlive: true, ...over }
}

function bad(what: string, bytes: string): BadAnswer {
  return { what, bytes }
}
