/** Calls of gRPC that wait for their turn at an upstream. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type ServiceError, type sendUnaryData, status } from '@grpc/grpc-js'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { GrpcClient, grpcServer, type Message, SERVICE, type Unary } from './support/grpc-service.ts'
import { openSession, request } from './support/http2-client.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'

const metadata = bearer(token())

/** A service that answers when it is told to, one call at a time, in front of which one more may wait. */
async function queued(context: TestContext) {
  const calls: { text: string; answer: (text: string) => void }[] = []
  const server = await grpcServer({
    say: ({ request: { text } }: Unary, done: sendUnaryData<Message>) =>
      void calls.push({ text, answer: answered => done(null, { text: answered }) }),
    tell() {},
    hear() {},
    talk() {},
  })
  context.after(() => server.close())
  const fairQueue = { concurrency: 1, queueSize: 1, queueTimeout: 60 }
  const gateway = await startConfigured(
    {
      server: { http2: { cleartext: true } },
      upstreams: { service: { url: server.url, protocol: 'h2c', fairQueue } },
      routes: [{ path: `/${SERVICE}/*`, upstream: 'service' }],
    },
    { GATEWAY_ADMIN_PORT: '0' },
  )
  context.after(() => gateway.stop('SIGKILL'))
  const client = new GrpcClient(gateway.url)
  context.after(() => client.close())
  const row = async () => (await send(`${gateway.adminUrl}/upstreams`)).json()[0]
  return {
    gateway,
    calls,
    say: (text: string) => client.say({ text }, { metadata }),
    waiting: (count: number) =>
      until(`${count} in the queue`, async () => {
        const { waiting, in_use } = await row()
        return waiting === count && in_use === 1
      }),
  }
}

test('a call gets its answer after its turn, and one too many is UNAVAILABLE and may come again', async context => {
  const { gateway, calls, say, waiting } = await queued(context)
  const first = say('first')
  await until('it is there', () => calls.length === 1)
  const second = say('second')
  await waiting(1)
  await assert.rejects(say('third'), (error: ServiceError) => {
    assert.equal(error.code, status.UNAVAILABLE)
    assert.match(error.details, /^The service has more requests than it can take/)
    assert.ok(Number(error.metadata.get('retry-after')[0]) >= 1)
    return true
  })
  calls[0]!.answer('one')
  assert.equal((await first).message.text, 'one')
  await until('the next is there', () => calls.length === 2)
  calls[1]!.answer('two')
  assert.equal((await second).message.text, 'two')
  assert.deepEqual(
    calls.map(({ text }) => text),
    ['first', 'second'],
  )
  await gateway.logged(({ code }) => code === 'upstream_overloaded')
})

test('a call whose deadline passes in the queue is ended there, and never sent', async context => {
  const { gateway, calls, say, waiting } = await queued(context)
  const first = say('first')
  await until('it is there', () => calls.length === 1)
  const session = await openSession(gateway.url)
  context.after(() => session.destroy())
  // One that does not look at its clock: the client of grpc-js would leave by itself
  const fields = { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '700m', ...metadata }
  const late = await request(
    session,
    { ':method': 'POST', ':path': `/${SERVICE}/Say`, ...fields },
    'a message',
  )
  assert.equal(late.headers['grpc-status'], String(status.DEADLINE_EXCEEDED))
  const { level, queue_ms } = await gateway.logged(({ code }) => code === 'deadline_exceeded')
  assert.equal(level, 'warning')
  assert.ok(Number(queue_ms) >= 500, `${queue_ms} ms in the queue`)
  await waiting(0)
  calls[0]!.answer('one')
  await first
  assert.equal(calls.length, 1)
})
