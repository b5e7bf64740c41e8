import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readBearer } from './bearer.ts'

describe('an Authorization value', () => {
  for (const value of [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Bearer    ',
    'Basic YTpi',
    'Bearerx a.b.c',
    'Token a.b.c',
    'a.b.c',
  ]) {
    test(`has no bearer token: ${JSON.stringify(value)}`, () =>
      assert.deepEqual(readBearer(value), { kind: 'none' }))
  }

  for (const value of ['Bearer a.b.c', 'bearer a.b.c', 'BEARER   a.b.c', 'Bearer a.b.c  ']) {
    test(`has one: ${JSON.stringify(value)}`, () => {
      assert.deepEqual(readBearer(value), { kind: 'token', token: 'a.b.c' })
    })
  }

  for (const value of ['Bearer sb_publishable_abc', 'bearer sb_secret_abc', 'Bearer  sb_secret_a b']) {
    test(`has an opaque key: ${JSON.stringify(value)}`, () =>
      assert.deepEqual(readBearer(value), { kind: 'opaque_key' }))
  }

  const malformed = [
    ...[
      'Bearer a b',
      'Bearer a,b',
      'Bearer a, Bearer b',
      'Bearer "a"',
      'Bearer a=b',
      'Bearer a\tb',
      'Bearer =',
      'Bearer a\0',
    ],
    ...[
      'Bearer \xa0a.b.c',
      'Bearer a.b.c\xa0',
      'Bearer a.\xe9',
      'Bearer a;b',
      'Bearer a%20b',
      'Bearer a\r\n',
    ],
  ]
  for (const value of malformed) {
    test(`is malformed: ${JSON.stringify(value)}`, () =>
      assert.deepEqual(readBearer(value), { kind: 'malformed' }))
  }

  test('gives a token of the characters of RFC 6750 or none at all', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        const bearer = readBearer(`Bearer ${text}`)
        if (bearer.kind === 'token') assert.match(bearer.token, /^[A-Za-z0-9\-._~+/]+=*$/)
      }),
    )
  })
})
