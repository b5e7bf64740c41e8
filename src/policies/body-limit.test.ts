import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { GatewayError } from '../errors.ts'
import { type RequestBody, reply } from '../exchange.ts'
import type { RequestFraming } from '../wire/request-head.ts'
import { bodyLimit } from './body-limit.ts'

/** What a limit of 100 bytes does: the bytes the body was limited to, or the code of the refusal. */
function limited(framing: RequestFraming): unknown {
  let limit: number | undefined
  const body: RequestBody = {
    received: 0,
    completedAt: 0,
    limit: bytes => {
      limit = bytes
    },
    takeWhole: () => null,
    invited() {},
    untimed() {},
    break() {},
    pipe() {},
    pause() {},
    resume() {},
    cancel() {},
  }
  try {
    void bodyLimit(100)(exchangeOf(framing === 'none' ? {} : { framing, body }), () => reply(204, []))
  } catch (error) {
    return error instanceof GatewayError ? error.code : error
  }
  return limit
}

describe('a body limit', () => {
  test('refuses what announces more, before any of it is read', () => {
    assert.equal(limited(101), 'body_too_large')
    assert.equal(limited(Number.MAX_SAFE_INTEGER), 'body_too_large')
  })

  test('holds what announces less, or nothing, to it', () => {
    assert.equal(limited(100), 100)
    assert.equal(limited('chunked'), 100)
  })

  test('does not concern a request without a body', () => assert.equal(limited('none'), undefined))
})
