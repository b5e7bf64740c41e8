import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Outcome } from '../exchange.ts'
import { levelOf } from './access-log.ts'

function levelAfter(code: ErrorCode | null, status: number, outcome: Outcome = 'answered') {
  const exchange = exchangeOf()
  exchange.error = code === null ? null : new GatewayError(code)
  exchange.status = status
  exchange.outcome = outcome
  return levelOf(exchange)
}

describe('the level of an exchange', () => {
  for (const [code, status] of [
    ['rate_limited', 429],
    ['auth_limited', 503],
    ['upstream_overloaded', 503],
    ['not_authenticated', 401],
    ['unsupported_method', 501],
    ['deadline_exceeded', 504],
    ['deadline_exceeded', 200],
  ] as const)
    test(`is warning where ${code} is answered with ${status}: a refusal pages nobody`, () => {
      assert.equal(levelAfter(code, status), 'warning')
    })

  for (const [code, status] of [
    ['upstream_unreachable', 503],
    ['upstream_timeout', 200],
    ['internal', 500],
    ['keys_unavailable', 503],
  ] as const)
    test(`is error where ${code} is answered with ${status}`, () => {
      assert.equal(levelAfter(code, status), 'error')
    })

  test('without an error of the gateway is that of the status, and of the end', () => {
    assert.equal(levelAfter(null, 200), 'info')
    assert.equal(levelAfter(null, 404), 'warning')
    assert.equal(levelAfter(null, 503), 'error')
    assert.equal(levelAfter(null, 200, 'client_gone'), 'warning')
    assert.equal(levelAfter(null, 200, 'broken'), 'error')
    assert.equal(levelAfter('deadline_exceeded', 200, 'broken'), 'error')
  })
})
