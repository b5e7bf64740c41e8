import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parsePattern } from './pattern.ts'
import { fillTemplate, stripSegments, withoutVersion } from './rewrite.ts'

const part = fc.string({
  unit: fc.constantFrom('a', '%41', '%20', '.', '$', '&', '~'),
  minLength: 1,
  maxLength: 4,
})
const parts = fc.array(part, { maxLength: 6 })

describe('the prefix of the auth service', () => {
  for (const [raw, expected] of [
    ['/auth/v1/token', '/token'],
    ['/auth/token', '/token'],
    ['/auth/v1', '/'],
    ['/auth/v1/', '/'],
    ['/auth', '/'],
    ['/auth/v1/v1/x', '/v1/x'],
    ['/auth/v10/x', '/v10/x'],
    ['/auth/x/v1/y', '/x/v1/y'],
  ] as const) {
    test(`goes with the version behind it: ${raw} becomes ${expected}`, () =>
      assert.equal(withoutVersion(stripSegments(1))(raw), expected))
  }
})

describe('a stripped prefix', () => {
  for (const [count, raw, expected] of [
    [3, '/api/v1/auth/token', '/token'],
    [3, '/api/v1/auth/', '/'],
    [3, '/api/v1/auth', '/'],
    [3, '/%61pi/v1/auth/a%2Eb/', '/a%2Eb/'],
    [0, '/a/b', '/a/b'],
    [1, '/', '/'],
  ] as const) {
    test(`of ${count} segments leaves ${expected} of ${raw}`, () =>
      assert.equal(stripSegments(count)(raw), expected))
  }

  test('leaves the rest byte for byte', () => {
    fc.assert(
      fc.property(parts, parts, fc.boolean(), (prefix, rest, slash) => {
        const tail = `/${rest.join('/')}${slash && rest.length > 0 ? '/' : ''}`
        const raw = prefix.length === 0 ? tail : `/${prefix.join('/')}${tail}`
        assert.equal(stripSegments(prefix.length)(raw), tail)
      }),
    )
  })
})

describe('a rewritten path', () => {
  const rewrite = (pattern: string, template: string, raw: string): string => {
    const segments = parsePattern(pattern)
    assert.ok(typeof segments !== 'string')
    return fillTemplate(template, segments)(raw)
  }

  for (const [pattern, template, raw, expected] of [
    ['/users/{id}', '/v2/people/{id}', '/users/7', '/v2/people/7'],
    ['/users/{id}/*', '/v2/{id}/x/*', '/users/7/a/b', '/v2/7/x/a/b'],
    ['/users/{id}/*', '/*', '/users/7/a%2Eb/c%20d/', '/a%2Eb/c%20d/'],
    ['/{a}/{b}', '/{b}/{a}/{b}', '/x/%C3%A9', '/%C3%A9/x/%C3%A9'],
    ['/{a}', '/{a}', '/$&', '/$&'],
    ['/a/*', '/b/*', '/a', '/b/'],
    ['/a/*', '/b/*', '/a/', '/b/'],
    ['/a', '/b', '/a', '/b'],
  ] as const) {
    test(`${pattern} → ${template} makes ${expected} of ${raw}`, () => {
      assert.equal(rewrite(pattern, template, raw), expected)
    })
  }

  test('holds the raw segments, whatever is in them', () => {
    fc.assert(
      fc.property(part, parts, (id, rest) => {
        const raw = `/users/${[id, ...rest].join('/')}`
        assert.equal(rewrite('/users/{id}/*', '/p/{id}/q/*', raw), `/p/${id}/q/${rest.join('/')}`)
      }),
    )
  })
})
