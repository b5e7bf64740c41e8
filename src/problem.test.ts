import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../test/support/exchange.ts'
import { type ErrorCode, GatewayError } from './errors.ts'
import { problemReply } from './problem.ts'

describe('the type of a problem', () => {
  const typeOf = (code: ErrorCode): string =>
    JSON.parse(String(problemReply(exchangeOf(), new GatewayError(code)).body)).type

  test('leads to the page of the gateway that explains its code', () => {
    assert.equal(typeOf('token_expired'), '/docs#token_expired')
  })

  test('is that of the standard where one names the same problem', () => {
    assert.equal(
      typeOf('upstream_overloaded'),
      'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity',
    )
  })
})
