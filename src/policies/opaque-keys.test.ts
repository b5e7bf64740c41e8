import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { reply } from '../exchange.ts'
import { opaqueKeys } from './opaque-keys.ts'

/** Whether the client's Authorization stays behind. */
function withheld(...values: string[]): boolean {
  const exchange = exchangeOf({ headers: values.flatMap(value => ['AUTHORIZATION', value]) })
  opaqueKeys()(exchange, () => reply(200, []))
  return exchange.upstreamHeaders.names?.has('authorization') ?? false
}

describe('an opaque API key as a bearer', () => {
  for (const value of ['Bearer sb_secret_x', 'bearer  sb_publishable_x', 'BEARER\tsb_secret_x']) {
    test(`stays behind: ${JSON.stringify(value)}`, () => assert.equal(withheld(value), true))
  }
  test('stays behind when it comes second', () =>
    assert.equal(withheld('Bearer a.b.c', 'Bearer sb_secret_x'), true))
  test('is not what a token is', () => assert.equal(withheld('Bearer a.b.c'), false))
  test('is not what other schemes carry', () => assert.equal(withheld('Basic sb_'), false))
  test('is not what its absence is', () => assert.equal(withheld(), false))
})
