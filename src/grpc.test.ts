import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ERRORS, type ErrorCode, GatewayError } from './errors.ts'
import { grpcFailure, grpcStatusOf, speaksGrpc } from './grpc.ts'
import { problemReply } from './problem.ts'
import { findField } from './wire/fields.ts'
import { RequestHeaders } from './wire/request-headers.ts'

const statusOf = (code: ErrorCode): number => grpcStatusOf(new GatewayError(code))

describe('a failure of a call', () => {
  test('has a status for every way in which the gateway refuses or fails, and it is never OK', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      assert.ok(statusOf(code) >= 1 && statusOf(code) <= 16, code)
      assert.notEqual(statusOf(code), 2, `${code} is UNKNOWN`)
    }
  })

  test('has the status that clients act on', () => {
    const table = {
      token_expired: 16,
      company_missing: 7,
      not_found: 12,
      body_too_large: 8,
      malformed_request: 3,
      upstream_unreachable: 14,
      upstream_reset: 14,
      upstream_timeout: 4,
      deadline_exceeded: 4,
      client_gone: 1,
      internal: 13,
    } as const
    for (const [code, status] of Object.entries(table))
      assert.equal(statusOf(code as ErrorCode), status, code)
  })

  test('is an answer without a body, and with what else the refusal has to say', () => {
    const error = new GatewayError('token_expired', { headers: ['WWW-Authenticate', 'Bearer'] })
    const { status, body, headers, error: told } = grpcFailure(error)
    assert.deepEqual([status, body, told], [200, null, error])
    assert.equal(findField(headers, 'content-type'), 'application/grpc')
    assert.equal(findField(headers, 'grpc-status'), '16')
    assert.equal(findField(headers, 'grpc-message'), 'Token has expired.')
    assert.equal(findField(headers, 'www-authenticate'), 'Bearer')
  })

  test('is a problem document to whoever does not speak gRPC', () => {
    const none = new RequestHeaders([])
    const headers = new RequestHeaders(['content-type', 'application/grpc'])
    const older = { id: 'a', protocol: 'HTTP/1.1', headers } as const
    const browser = { id: 'a', protocol: 'HTTP/2', headers: none } as const
    const caller = { id: 'a', protocol: 'HTTP/2', headers } as const
    assert.deepEqual([older, browser, caller].map(speaksGrpc), [false, false, true])
    const error = new GatewayError('not_found')
    assert.deepEqual(
      [older, browser, caller].map(exchange => problemReply(exchange, error).status),
      [404, 404, 200],
    )
  })
})
