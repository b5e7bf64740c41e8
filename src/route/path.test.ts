import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodePath } from './path.ts'

/** What paths and attacks on them are made of. */
const piece = fc.constantFrom(
  ...[
    '/',
    '/',
    '/',
    'a',
    'b',
    'api',
    '.',
    '..',
    '...',
    '\\',
    ';',
    ';x=1',
    '%',
    '%2',
    '25',
    '2e',
    '2E',
    '2f',
    '5c',
  ],
  ...[
    '%2e',
    '%2E',
    '%2f',
    '%5C',
    '%25',
    '%252e',
    '%252F',
    '%255c',
    '%25%32%65',
    '%32',
    '%65',
    '%66',
    '%35',
    '%63',
  ],
  ...[
    '%00',
    '%0d%0a',
    '%20',
    '%7f',
    '%c3%a9',
    '%e0%a4',
    '%ff',
    '%3f',
    '%23',
    '%3b',
    ':',
    '@',
    '~',
    '+',
    '&',
    '=',
  ],
)
const rawPath = fc.array(piece, { maxLength: 10 }).map(parts => `/${parts.join('')}`)

function decodedTwice(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

describe('an ambiguous path', () => {
  const refused = [
    ...[
      '',
      'a',
      '*',
      'http://h/a',
      '//',
      '//a',
      '/a//b',
      '/a//',
      '/a/./b',
      '/.',
      '/..',
      '/a/..',
      '/a/../b',
      '/./',
    ],
    ...[
      '/a/%2e%2e/b',
      '/a/%2E./b',
      '/a/.%2e/b',
      '/%2e',
      '/a/%2e/b',
      '/a/..;/b',
      '/a/..;x=1/b',
      '/a/%2e%2e;x/b',
    ],
    ...[
      '/a/..%3bx/b',
      '/a/.;/b',
      '/a\\b',
      '/a/..\\b',
      '/a%5cb',
      '/a%5Cb',
      '/a%2fb',
      '/a%2Fb',
      '/a/..%2fb',
      '/a/..%5cb',
    ],
    ...['/%2f', '/%2f/a', '/a%00', '/a%00.css', '/a%0d%0aX:%20y', '/a%0Ab', '/a%09b', '/a%1fb', '/a%7fb'],
    ...['/%zz', '/%', '/a%2', '/%E0%A4%A', '/%c0%ae%c0%ae/b', '/%c0%af', '/%ff', '/a#b', '/#'],
    ...['/a/%252e%252e/b', '/a%252fb', '/a%255cb', '/a/%252E/b'],
    ...[
      '/a/%25%32%65%25%32%65/b',
      '/a%25%32%66b',
      '/a%252%66b',
      '/a%25%32fb',
      '/a%25%35%63b',
      '/a/%252%65/b',
    ],
  ]
  for (const raw of refused) {
    test(`is refused: ${JSON.stringify(raw)}`, () => assert.equal(decodePath(raw), null))
  }
})

describe('a plain path', () => {
  const accepted: [string, string][] = [
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a/', '/a/'],
    ['/a.b/...c/d..', '/a.b/...c/d..'],
    ['/.well-known/jwks.json', '/.well-known/jwks.json'],
    ['/a/...', '/a/...'],
    ['/%69ngest', '/ingest'],
    ['/caf%C3%A9', '/café'],
    ['/a%20b', '/a b'],
    ['/50%25', '/50%'],
    ['/a;b=c', '/a;b=c'],
    ['/a%3fb', '/a?b'],
    ["/~!$&'()*+,=:@-_", "/~!$&'()*+,=:@-_"],
  ]
  for (const [raw, decoded] of accepted) {
    test(`means what it says: ${raw}`, () => assert.equal(decodePath(raw), decoded))
  }
})

describe('a decoded path', () => {
  test('has no dot segment, empty segment, or backslash, decoded once or twice, and no control', () => {
    fc.assert(
      fc.property(rawPath, raw => {
        const decoded = decodePath(raw)
        if (decoded === null) return
        for (const path of [decoded, decodedTwice(decoded)]) {
          assert.ok(path.startsWith('/'))
          assert.doesNotMatch(path, /\/\/|\\|\/\.{1,2}(?:[/;]|$)/)
        }
        assert.doesNotMatch(decoded, /[\0-\x1f\x7f]/)
      }),
      { numRuns: 5_000 },
    )
  })

  test('is the path that the URL standard reads from the same text', () => {
    fc.assert(
      fc.property(rawPath, raw => {
        const decoded = decodePath(raw)
        if (decoded === null) return
        const { pathname, host } = new URL(`http://gateway.test${raw}`)
        assert.equal(host, 'gateway.test')
        assert.equal(decodeURIComponent(pathname), decoded)
      }),
      { numRuns: 5_000 },
    )
  })

  test('is found for every path of ordinary segments, whatever their characters', () => {
    const segment = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
      .filter(text => !/[/\\\0-\x1f\x7f%]/.test(text) && !/^\.{1,2}(?:;|$)/.test(text))
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), segments => {
        assert.equal(decodePath(`/${segments.map(encodeURIComponent).join('/')}`), `/${segments.join('/')}`)
      }),
    )
  })

  test('is decided in linear time', () => {
    const time = (length: number): number => {
      const raws = ['/', '/..', '/%2e', '/;', '/a', '%41', '/%252'].map(part => `/a${part.repeat(length)}`)
      const start = performance.now()
      for (const raw of raws) decodePath(raw)
      return performance.now() - start
    }
    time(1_000)
    assert.ok(time(100_000) < 1_000, 'seven paths of 100,000 parts take more than a second')
  })
})
