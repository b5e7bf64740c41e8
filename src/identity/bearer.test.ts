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

  for (const value of ['Bearer\ta.b.c', 'bearer\t', 'BEARER\ta b']) {
    test(`is malformed: ${JSON.stringify(value)}`, () =>
      assert.deepEqual(readBearer(value), { kind: 'malformed' }))
  }

  test('gives whatever stands behind the scheme, without the spaces around it', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.nat({ max: 3 }),
        fc.nat({ max: 3 }),
        (text, before, after) => {
          const bearer = readBearer(`Bearer ${' '.repeat(before)}${text}${' '.repeat(after)}`)
          const token = text.replace(/^ +| +$/g, '')
          if (token === '') assert.equal(bearer.kind, 'none')
          else if (token.startsWith('sb_')) assert.equal(bearer.kind, 'opaque_key')
          else assert.deepEqual(bearer, { kind: 'token', token })
        },
      ),
    )
  })
})
