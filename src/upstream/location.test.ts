import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { exchangeOf } from '../../test/support/exchange.ts'
import { parsePattern } from '../route/pattern.ts'
import { fillTemplate, stripSegments } from '../route/rewrite.ts'
import { type LocationOptions, locationMapper, type PathChange } from './location.ts'

const strip = (segments: number): PathChange => ({ rewrite: stripSegments(segments), segments })

function rewritten(pattern: string, template: string): PathChange {
  const segments = parsePattern(pattern)
  if (typeof segments === 'string') assert.fail(segments)
  const wild = segments.at(-1)?.kind === 'wildcard'
  return { rewrite: fillTemplate(template, segments), segments: segments.length - (wild ? 1 : 0) }
}

/** The client asks gateway.test; the upstream is inner:8000. */
function mapped(
  value: string,
  asked: string,
  options: Partial<LocationOptions> = {},
  status = 201,
  protocol: 'http' | 'https' = 'http',
): string {
  const map = locationMapper({
    authority: 'inner:8000',
    secure: false,
    preserveHost: false,
    basePath: '',
    change: null,
    ...options,
  })
  return map(value, exchangeOf({ target: asked, protocol }), status)
}

describe('where paths go up as they come', () => {
  for (const [value, expected] of [
    ['/files/7', '/files/7'],
    ['http://inner:8000/files/7?a=b#c', '/files/7?a=b#c'],
    ['HTTP://Inner:8000/files/7', '/files/7'],
    ['https://inner:8000/files/7', '/files/7'],
    ['//inner:8000/files/7', '/files/7'],
    ['http://inner:8000', '/'],
    ['http://inner:8000?a', '/?a'],
    ['http://inner:8000#a', '/#a'],
    ['http://gateway.test/files/7', '/files/7'],
    ['http://GATEWAY.test:80/files/7', '/files/7'],
  ] as const) {
    test(`${value} is ${expected} to the client`, () => assert.equal(mapped(value, '/files'), expected))
  }
})

describe('what names something else passes byte for byte', () => {
  for (const value of [
    'https://accounts.example.com/o/oauth2?redirect_uri=http%3A%2F%2Finner%3A8000%2Fcb',
    'http://inner:8001/files',
    'http://inner/files',
    'http://inner:8000@evil.example/',
    'http://inner:8000.evil.example/',
    'http://inner:8000\\@evil.example/',
    'http://evil.example\\@inner:8000/',
    'http:/files',
    'ftp://inner:8000/files',
    'files/7',
    './7',
    '../7',
    '?page=2',
    '#part',
    '',
    'myapp://signed-in#token=a',
    '//cdn.example.com/a',
    'http://gateway.test.evil.example/',
    'http://gateway.test:8080/',
    'https://gateway.test/files',
  ]) {
    for (const change of [null, strip(2)])
      test(`${JSON.stringify(value)}${change === null ? '' : ', under a stripped prefix'}`, () =>
        assert.equal(mapped(value, '/api/v1/files', { change }), value))
  }
})

describe('a stripped prefix', () => {
  for (const [value, expected] of [
    ['/files/7', '/api/v1/files/7'],
    ['/', '/api/v1/'],
    ['/?a=/b', '/api/v1/?a=/b'],
    ['http://inner:8000/files/7', '/api/v1/files/7'],
    ['http://inner:8000', '/api/v1/'],
    ['http://gateway.test/files/7', '/api/v1/files/7'],
    // It heeds X-Forwarded-Prefix
    ['/api/v1/files/7', '/api/v1/files/7'],
    ['http://gateway.test/api/v1/files/7', '/api/v1/files/7'],
    ['http://gateway.test/api/v1', '/api/v1'],
    ['/api/v1?a', '/api/v1?a'],
    ['/api/v10/files', '/api/v1/api/v10/files'],
  ] as const) {
    test(`${value} is ${expected} to the client`, () =>
      assert.equal(mapped(value, '/api/v1/files', { change: strip(2) }), expected))
  }
  test('is put back as the client wrote it', () =>
    assert.equal(mapped('/files/7', '/t/%41cme/files', { change: strip(2) }), '/t/%41cme/files/7'))
  for (const asked of ['/api/v1', '/api/v1/'])
    test(`is put back for ${asked}`, () =>
      assert.equal(mapped('/7', asked, { change: strip(2) }), '/api/v1/7'))
})

describe('a rewritten path', () => {
  for (const [pattern, template, asked, value, expected] of [
    ['/uploads/*', '/files/*', '/uploads', '/files/7', '/uploads/7'],
    ['/uploads/*', '/files/*', '/uploads/', 'http://inner:8000/files/7', '/uploads/7'],
    ['/uploads/*', '/files/*', '/uploads/a', '/filesystem', '/filesystem'],
    ['/uploads/*', '/files/*', '/uploads/a', '/login', '/login'],
    ['/uploads/*', '/files/*', '/uploads/a', '/uploads/7', '/uploads/7'],
    ['/api/*', '/api/v2/*', '/api/a', '/api/v2/a/7', '/api/a/7'],
    ['/api/v2/*', '/api/*', '/api/v2/a', '/api/a/7', '/api/v2/a/7'],
    ['/api/v2/*', '/api/*', '/api/v2/a', '/api/v2/a/7', '/api/v2/a/7'],
    ['/t/{tenant}/*', '/{tenant}/x/*', '/t/acme/a', '/acme/x/7', '/t/acme/7'],
    ['/t/{tenant}/*', '/{tenant}/x/*', '/t/acme/a', '/other/x/7', '/other/x/7'],
    ['/report/{id}', '/v2/reports/{id}', '/report/7', '/v2/reports/7', '/report/7'],
    ['/*', '/inner/*', '/a', '/inner/a', '/a'],
  ] as const) {
    test(`${pattern} to ${template}: ${value} is ${expected}`, () =>
      assert.equal(mapped(value, asked, { change: rewritten(pattern, template) }), expected))
  }
})

describe('a base path of the upstream', () => {
  for (const [change, value, expected] of [
    [null, '/base/files/7', '/files/7'],
    [null, 'http://inner:8000/base/files/7', '/files/7'],
    [null, 'http://inner:8000/base', '/'],
    [null, '/files/7', '/files/7'],
    [null, 'http://inner:8000/other', 'http://inner:8000/other'],
    [strip(2), '/base/files/7', '/api/v1/files/7'],
    [strip(2), '/api/v1/files/7', '/api/v1/files/7'],
  ] as const) {
    test(`${value}${change === null ? '' : ', under a stripped prefix,'} is ${expected} to the client`, () =>
      assert.equal(mapped(value, '/api/v1/files', { basePath: '/base', change }), expected))
  }
})

describe("a redirect to the client's own host", () => {
  const page = 'http://gateway.test/welcome#access_token=a'
  test('passes: it may well lead to the application beside the gateway', () =>
    assert.equal(mapped(page, '/api/v1/auth/verify', { change: strip(3) }, 303), page))
  test('is mapped where the upstream knows itself by that name', () => {
    const options = { change: strip(3), preserveHost: true }
    assert.equal(mapped(page, '/api/v1/auth/verify', options, 303), '/api/v1/auth/welcome#access_token=a')
  })
  test('passes where it leads from http to https', () => {
    const secure = 'https://gateway.test/files'
    assert.equal(mapped(secure, '/files', { preserveHost: true }, 301), secure)
  })
  test('becomes a path where only the upstream believes in http', () =>
    assert.equal(mapped('http://gateway.test/a/', '/a', { preserveHost: true }, 307, 'https'), '/a/'))
})

describe('no path becomes another host', () => {
  for (const value of [
    'http://inner:8000//evil.example/',
    'http://inner:8000/\\evil.example/',
    'http://inner:8000/\t/evil.example/',
    'http://inner:8000///evil.example/',
    '//inner:8000//evil.example/',
    'http://gateway.test//evil.example/',
    '/base//evil.example/',
    '/base/\\evil.example/',
    '/base/\t/\\evil.example/',
  ]) {
    for (const basePath of ['', '/base']) {
      test(`${JSON.stringify(value)}, base path ${JSON.stringify(basePath)}`, () => {
        const result = new URL(mapped(value, '/', { basePath }), 'http://gateway.test')
        assert.ok(['gateway.test', 'inner:8000'].includes(result.host), result.href)
      })
    }
  }
  test('whatever the path and the route', () => {
    const unit = fc.constantFrom('/', '\\', '\t', '.', 'a', 'evil.example', '@', ':', '?', '#', '%2f')
    const path = fc.string({ unit, maxLength: 6 })
    const changes = fc.constantFrom(null, strip(0), strip(1), rewritten('/*', '/a/*'))
    fc.assert(
      fc.property(path, changes, fc.constantFrom('', '/a'), (path, change, basePath) => {
        for (const value of [`http://inner:8000/${path}`, `/a${path}`, `//inner:8000/${path}`]) {
          const result = mapped(value, '/x/y', { change, basePath })
          const { hostname } = new URL(result, 'http://gateway.test')
          assert.ok(result === value || hostname === 'gateway.test', `${value} → ${result}`)
        }
      }),
    )
  })
})
