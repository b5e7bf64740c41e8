import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { gatewaySchema, upstreamSchema } from '../config/schema.ts'
import { endpointOf } from './endpoint.ts'
import { Http2Pool } from './http2-pool.ts'
import type { Http2Session } from './http2-session.ts'

test('a pool that closes while it connects serves those who wait, then its connection ends', async context => {
  const server = http2.createServer((_, response) => response.end('late'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const settings = upstreamSchema.parse({ url, protocol: 'h2c', idleTimeout: 60 })
  const endpoint = endpointOf('late', settings, gatewaySchema.parse({}).client)
  const pool = new Http2Pool(endpoint)
  const accepted = once(server, 'session') as Promise<[http2.ServerHttp2Session]>
  const answered = Promise.withResolvers<string>()
  const onSession = (session: Http2Session): void => {
    const stream = session.request([':path', '/'], { endStream: true }).setEncoding('utf8')
    let text = ''
    stream.on('data', chunk => {
      text += chunk
    })
    stream.once('close', () => {
      session.released(0)
      answered.resolve(text)
    })
  }
  pool.acquire({ onSession, onNoSession: answered.reject }, endpoint.timeouts)
  pool.close()
  const [session] = await accepted
  const ended = once(session, 'close')
  assert.equal(await answered.promise, 'late')
  await ended
  assert.equal(pool.size, 0)
})
