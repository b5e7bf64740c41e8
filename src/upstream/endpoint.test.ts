import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { gatewaySchema } from '../config/schema.ts'
import { type Endpoint, endpointOf } from './endpoint.ts'

/** The endpoint of an upstream as a config describes it. */
function endpoint(upstream: Record<string, unknown>, client: Record<string, unknown> = {}): Endpoint {
  const config = gatewaySchema.parse({ upstreams: { a: upstream }, client })
  return endpointOf('a', config.upstreams.a!, config.client)
}

describe('an endpoint', () => {
  for (const [url, host, port, authority, basePath] of [
    ['http://h', 'h', 80, 'h', ''],
    ['http://h:8000/', 'h', 8000, 'h:8000', ''],
    ['https://H.example/base/v1/', 'h.example', 443, 'h.example', '/base/v1'],
    ['http://h:80', 'h', 80, 'h', ''],
    ['http://[::1]:8000', '::1', 8000, '[::1]:8000', ''],
  ] as const) {
    test(`is read from ${url}`, () => {
      const read = endpoint({ url })
      assert.deepEqual(
        [read.host, read.port, read.authority, read.basePath],
        [host, port, authority, basePath],
      )
    })
  }

  test('names its host to TLS, but never an address', () => {
    assert.equal(endpoint({ url: 'http://h' }).tls, null)
    assert.deepEqual(endpoint({ url: 'https://h' }).tls, { ca: undefined, servername: 'h' })
    for (const url of ['https://127.0.0.1', 'https://[::1]']) {
      assert.deepEqual(endpoint({ url }).tls, { ca: undefined, servername: undefined })
    }
  })

  test('has its own settings over those of all', () => {
    const client = {
      maxConnections: 7,
      maxIdleConnections: 3,
      timeouts: { connect: 1, firstByte: 2, idle: 3 },
    }
    const plain = endpoint({ url: 'http://h' }, client)
    assert.deepEqual(
      [plain.maxConnections, plain.maxIdleConnections, plain.timeouts],
      [7, 3, client.timeouts],
    )
    const own = endpoint(
      { url: 'http://h', maxConnections: 9, maxIdleConnections: 0, timeouts: { idle: '1m' } },
      client,
    )
    assert.deepEqual(
      [own.maxConnections, own.maxIdleConnections, own.timeouts],
      [9, 0, { connect: 1, firstByte: 2, idle: 60 }],
    )
  })
})
