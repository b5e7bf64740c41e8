/** Streams of one company that would fill an upstream, and what is left to the others. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { open, send } from './support/client.ts'
import { httpUpstream } from './support/http-upstream.ts'
import { openSession } from './support/http2-client.ts'
import { of, type Queued, queued } from './support/queued.ts'
import { startReloading } from './support/reloading.ts'
import { until } from './support/until.ts'
import { connect, socketService } from './support/websocket.ts'

/** Of an adaptive limit, before anything is known: three quarters of 20. */
const AT_FIRST = 15

/** A service whose streams say one thing and then nothing, and which answers all else at once. */
async function service(context: TestContext) {
  const upstream = await httpUpstream(({ target, response }) => {
    if (!target.startsWith('/events')) return void response.end('done')
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: hello\n\n')
  })
  context.after(() => upstream.close())
  return upstream
}

/** So many are asked for; who waits for a slot goes on waiting. */
function eventStreams(gateway: Queued, company: string, count: number) {
  return Array.from({ length: count }, () => {
    const stream = open(`${gateway.url}/events`, { headers: of(company), within: 120_000 })
    stream.request.on('error', () => {})
    stream.answered.then(
      answer => answer.on('error', () => {}).resume(),
      () => {},
    )
    stream.request.end()
    return stream
  })
}

/** All of another company's requests are answered, one after the other and five at a time. */
async function isServed(gateway: Queued, company: string): Promise<void> {
  for (let n = 0; n < 10; n++) assert.equal((await gateway.ask(company)).status, 200)
  const some = await Promise.all(Array.from({ length: 5 }, () => gateway.ask(company)))
  assert.deepEqual(
    some.map(({ status }) => status),
    [200, 200, 200, 200, 200],
  )
}

const filled = (gateway: Queued) =>
  until('all slots are taken', async () => (await gateway.row()).in_use >= AT_FIRST)
const lent = (gateway: Queued, least: number) =>
  until(`${least} are lent`, async () => (await gateway.row()).lent >= least, 20_000)

test('25 idle event streams of a company leave the others room, and itself once they are at rest', async context => {
  const upstream = await service(context)
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 })
  const streams = eventStreams(gateway, 'acme', 25)
  await filled(gateway)
  await lent(gateway, 1)
  for (const company of ['globex', 'initech', 'umbrella']) await isServed(gateway, company)
  await until('all of them are open', async () => (await gateway.row()).in_use === 25, 20_000)
  await lent(gateway, 25)
  await isServed(gateway, 'acme')
  for (const { request } of streams) request.destroy()
  await until('nothing is lent of what is free', async () => {
    const row = await gateway.row()
    return row.in_use === 0 && row.lent === 0
  })
})

test('bodies that come slowly leave the others room, over HTTP/2 too', async context => {
  const upstream = await httpUpstream()
  context.after(() => upstream.close())
  const http2 = { server: { http2: { cleartext: true } } }
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 }, http2)
  const session = await openSession(gateway.url)
  context.after(() => session.destroy())
  const overHttp2 = Array.from({ length: 10 }, () =>
    session.request({ ':path': '/upload', ':method': 'POST', ...of('acme') }),
  )
  const uploads = Array.from({ length: 10 }, () =>
    open(`${gateway.url}/upload`, { method: 'POST', headers: of('acme'), within: 120_000 }),
  )
  const requests = [...overHttp2, ...uploads.map(({ request }) => request)]
  for (const request of requests) request.on('error', () => {})
  const sending = setInterval(() => {
    for (const request of requests) request.write('x'.repeat(300))
  }, 500)
  context.after(() => clearInterval(sending))
  await filled(gateway)
  await lent(gateway, 1)
  await isServed(gateway, 'globex')
  clearInterval(sending)
  for (const request of requests) request.end()
  for (const { answered } of uploads) {
    const answer = await answered
    assert.equal(answer.statusCode, 200)
    answer.resume()
  }
  await until('nothing is lent of what is free', async () => {
    const row = await gateway.row()
    return row.in_use === 0 && row.lent === 0
  })
})

test('whole answers that nobody takes leave the others room', async context => {
  const upstream = await httpUpstream(({ response }) => void response.end('done'))
  context.after(() => upstream.close())
  const http2 = { server: { http2: { cleartext: true } } }
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 }, http2)
  const session = await openSession(gateway.url, { settings: { initialWindowSize: 0 } })
  context.after(() => session.destroy())
  for (let n = 0; n < 20; n++) session.request({ ':path': '/whole', ...of('acme') }).on('error', () => {})
  await filled(gateway)
  await lent(gateway, 1)
  await isServed(gateway, 'globex')
  session.destroy()
  await until('nothing is lent of what is free', async () => {
    const row = await gateway.row()
    return row.in_use === 0 && row.lent === 0
  })
})

test('over HTTP/1.1, too', async context => {
  const upstream = await httpUpstream(({ response }) => void response.end('done'))
  context.after(() => upstream.close())
  // More than the system keeps for a client that does not read, and in one piece
  const gateway = await startReloading(
    `
    import { defineGateway } from 'nyro-gateway'
    const whole = async (exchange, next) => {
      const reply = await next(exchange)
      reply.body?.cancel?.()
      return { ...reply, body: Buffer.alloc(30_000_000), contentLength: 30_000_000 }
    }
    export default defineGateway({
      upstreams: { service: { url: ${JSON.stringify(upstream.url)}, fairQueue: { queueTimeout: 30 } } },
      routes: [
        { path: '/whole', upstream: 'service', policies: [whole] },
        { path: '/*', upstream: 'service' },
      ],
    })`,
    { name: 'gateway.config.mjs' },
  )
  context.after(() => gateway.stop('SIGKILL'))
  const clients = Array.from({ length: 20 }, () =>
    open(`${gateway.url}/whole`, { headers: of('acme'), within: 120_000 }),
  )
  for (const { request } of clients) request.on('error', () => {}).end()
  const answer = () => send(`${gateway.url}/work`, { headers: of('globex'), within: 120_000 })
  const row = async () => (await send(`${gateway.adminUrl}/upstreams`)).json()[0]
  await until('some are lent', async () => (await row()).lent > 0)
  for (let n = 0; n < 10; n++) assert.equal((await answer()).status, 200)
  for (const { request } of clients) request.destroy()
  await until('nothing is lent of what is free', async () => {
    const { in_use, lent } = await row()
    return in_use === 0 && lent === 0
  })
})

test('so do its WebSockets, and streams over HTTP/2', async context => {
  const sockets = await socketService()
  context.after(() => sockets.close())
  const http2 = { server: { http2: { cleartext: true } } }
  const overSockets = await queued(context, sockets.url, { queueTimeout: 30 })
  const refused: unknown[] = []
  for (let n = 0; n < 20; n++)
    connect(`${overSockets.url}/events`, { headers: of('acme') }).catch(error => refused.push(error))
  await filled(overSockets)
  await lent(overSockets, 1)
  // It is no HTTP service, but it answers
  assert.ok((await overSockets.ask('globex')).status < 500)
  assert.deepEqual(refused, [])

  const upstream = await service(context)
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 }, http2)
  const session = await openSession(gateway.url)
  context.after(() => session.destroy())
  for (let n = 0; n < 20; n++) {
    const stream = session.request({ ':path': '/events', ...of('acme') })
    stream.on('error', () => {})
    stream.resume()
  }
  await filled(gateway)
  await lent(gateway, 1)
  await isServed(gateway, 'globex')
})

test('requests that take long keep nobody else out', async context => {
  const upstream = await httpUpstream(({ target, response }) => {
    if (target !== '/report') response.end('done')
  })
  context.after(() => upstream.close())
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 })
  const reports = Array.from({ length: 40 }, () => gateway.ask('acme', '/report'))
  await filled(gateway)
  await lent(gateway, 1)
  for (const company of ['globex', 'initech']) await isServed(gateway, company)
  const answer = setInterval(() => {
    for (const { target, response } of upstream.requests) if (target === '/report') response.end('done')
  }, 50)
  context.after(() => clearInterval(answer))
  const statuses = (await Promise.all(reports)).map(({ status }) => status)
  assert.deepEqual(new Set(statuses), new Set([200]))
  await until('nothing is lent of what is free', async () => {
    const row = await gateway.row()
    return row.in_use === 0 && row.lent === 0
  })
})

test('streams in which much moves lend no more than what is beyond a quarter', async context => {
  const upstream = await service(context)
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 })
  eventStreams(gateway, 'acme', AT_FIRST)
  await filled(gateway)
  const busy = setInterval(() => {
    for (const { response, target } of upstream.requests)
      if (target === '/events') response.write(`data: ${'.'.repeat(200)}\n\n`)
  }, 500)
  context.after(() => clearInterval(busy))
  await lent(gateway, 1)
  for (const end = performance.now() + 12_000; performance.now() < end; ) {
    await isServed(gateway, 'globex')
    assert.ok((await gateway.row()).lent < AT_FIRST, 'none is at rest')
  }
})

test('a number of slots is kept to, unless it is told to lend', async context => {
  const upstream = await service(context)
  const holds = await queued(context, upstream.url, { concurrency: 5, queueTimeout: 3 })
  eventStreams(holds, 'acme', 5)
  await until('all slots are taken', async () => (await holds.row()).in_use === 5)
  const refused = await holds.ask('globex')
  assert.equal(refused.status, 503)
  assert.equal((await holds.row()).lent, 0)

  const lends = { concurrency: 5, queueTimeout: 30, streams: 'lend' } as const
  // How much a company has beyond its part each thread knows of itself
  const lending = await queued(context, upstream.url, lends, {}, { GATEWAY_WORKERS: '1' })
  eventStreams(lending, 'acme', 5)
  await until('all slots are taken', async () => (await lending.row()).in_use === 5)
  await isServed(lending, 'globex')
  // Its own turn comes when one of its streams has ended
  const own = lending.ask('acme')
  await lending.waiting(1)
  await isServed(lending, 'initech')
  upstream.requests.findLast(({ target }) => target === '/events')!.response.end()
  assert.equal((await own).status, 200)
  assert.equal((await send(`${lending.adminUrl}/upstreams`)).json()[0].refused, 0)
})
