/** Turns at an upstream that takes only so many at a time: real processes, and a service that answers when it is told to. */

import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import { constants } from 'node:http2'
import { test } from 'node:test'
import { type Answer, bearer, open, send } from './support/client.ts'
import { type HttpUpstream, httpUpstream, type ReceivedRequest } from './support/http-upstream.ts'
import { openSession, request } from './support/http2-client.ts'
import { holding, of, queued } from './support/queued.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect, pair, socketService } from './support/websocket.ts'

/** Answers the oldest request that has none, once there is one. */
async function answerNext(upstream: HttpUpstream): Promise<ReceivedRequest> {
  const request = await until('a request to answer', () =>
    upstream.requests.find(({ response }) => !response.writableEnded && !response.destroyed),
  )
  request.response.end('done')
  return request
}

test('an upstream gets no more at a time than it takes, and the rest one after the other', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 2, queueTimeout: 30 })
  const answers = ['/1', '/2', '/3'].map(path => gateway.ask('acme', path))
  assert.deepEqual(await gateway.waiting(1), {
    name: 'service',
    limit: 2,
    in_use: 2,
    lent: 0,
    waiting: 1,
    refused: 0,
  })
  await until('both are there', () => upstream.requests.length === 2)
  for (let n = 0; n < 3; n++) await answerNext(upstream)
  assert.deepEqual(
    (await Promise.all(answers)).map(({ status }) => status),
    [200, 200, 200],
  )
  await gateway.logged(() => gateway.log.filter(({ status_code }) => status_code === 200).length === 3)
  const waits = gateway.log.filter(({ status_code }) => status_code === 200).map(({ queue_ms }) => queue_ms)
  assert.equal(waits.filter(wait => wait === undefined).length, 2)
  assert.equal(waits.filter(wait => typeof wait === 'number' && wait > 0).length, 1)
  const { in_use } = await until('all slots are free', async () => {
    const row = await gateway.row()
    return row.in_use === 0 && row
  })
  assert.equal(in_use, 0)
})

test('one company alone may use all of it', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 8, queueTimeout: 30 })
  const answers = Array.from({ length: 12 }, () => gateway.ask('alone'))
  assert.equal((await gateway.waiting(4)).in_use, 8)
  await until('all of them are there', () => upstream.requests.length === 8)
  for (let n = 0; n < 12; n++) await answerNext(upstream)
  for (const { status } of await Promise.all(answers)) assert.equal(status, 200)
})

test('a company that comes to a crowd of another has the next turn', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 1, queueTimeout: 30 })
  const noisy = Array.from({ length: 30 }, (_, n) => gateway.ask('noisy', `/noisy/${n}`))
  await gateway.waiting(29)
  const quiet = gateway.ask('quiet', '/quiet')
  await gateway.waiting(30)
  const order: string[] = []
  for (let n = 0; n < 3; n++) order.push((await answerNext(upstream)).target)
  assert.ok(order.includes('/quiet'), `served ${order}`)
  assert.equal((await quiet).status, 200)
  for (let n = 0; n < 28; n++) await answerNext(upstream)
  for (const { status } of await Promise.all(noisy)) assert.equal(status, 200)
})

test('without a company addresses share, and one user is another than the next', async context => {
  const upstream = await holding(context)
  const gateway = await queued(
    context,
    upstream.url,
    { concurrency: 1, queueTimeout: 30 },
    {
      server: { trustedProxies: ['127.0.0.1'] },
      routes: [{ path: '/*', upstream: 'service', auth: 'optional', company: 'optional' }],
    },
  )
  const from = (ip: string, path: string): Promise<Answer> =>
    send(`${gateway.url}${path}`, { headers: { 'x-forwarded-for': ip } })
  const flood = Array.from({ length: 10 }, () => from('192.0.2.1', '/flood'))
  await gateway.waiting(9)
  const person = bearer(token(claims({ sub: 'person', app_metadata: {} })))
  const others = [
    from('192.0.2.2', '/other'),
    send(`${gateway.url}/person`, { headers: { 'x-forwarded-for': '192.0.2.1', ...person } }),
  ]
  await gateway.waiting(11)
  const order: string[] = []
  for (let n = 0; n < 5; n++) order.push((await answerNext(upstream)).target)
  assert.ok(order.includes('/other') && order.includes('/person'), `served ${order}`)
  for (let n = 0; n < 7; n++) await answerNext(upstream)
  await Promise.all([...flood, ...others])
})

test('addresses of one IPv6 network share as one, however many of them somebody uses', async context => {
  const upstream = await holding(context)
  const gateway = await queued(
    context,
    upstream.url,
    { concurrency: 1, queueTimeout: 30 },
    {
      server: { trustedProxies: ['127.0.0.1'] },
      routes: [{ path: '/*', upstream: 'service', auth: 'none' }],
    },
  )
  const from = (ip: string, path: string): Promise<Answer> =>
    send(`${gateway.url}${path}`, { headers: { 'x-forwarded-for': ip } })
  const flood = Array.from({ length: 16 }, (_, n) => from(`2001:db8::${n + 1}`, '/flood'))
  await gateway.waiting(15)
  const other = Array.from({ length: 5 }, () => from('2001:db8:0:1::1', '/other'))
  await gateway.waiting(20)
  const order: string[] = []
  for (let n = 0; n < 10; n++) order.push((await answerNext(upstream)).target)
  assert.ok(order.filter(target => target === '/other').length >= 3, `served ${order}`)
  for (let n = 0; n < 11; n++) await answerNext(upstream)
  await Promise.all([...flood, ...other])
})

test('a full queue refuses the company that fills it, and says when to come again', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 2, queueSize: 8, queueTimeout: 30 })
  const noisy = Array.from({ length: 40 }, () => gateway.ask('noisy'))
  const full = await until('the queue is full', async () => {
    const row = await gateway.row()
    return row.in_use + row.waiting + row.refused === 40 && row
  })
  assert.ok(full.waiting <= 8 && full.refused >= 30)
  const quiet = [gateway.ask('quiet'), gateway.ask('quiet')]
  await until('others made room', async () => (await gateway.row()).refused >= full.refused)
  let answered = 0
  const all = Promise.all([...noisy, ...quiet]).then(answers => {
    answered = answers.length
    return answers
  })
  await until('all are answered', () => {
    const request = upstream.requests.find(({ response }) => !response.writableEnded)
    request?.response.end('done')
    return answered > 0
  })
  const answers = await all
  assert.deepEqual(
    answers.slice(40).map(({ status }) => status),
    [200, 200],
  )
  const refused = answers.filter(({ status }) => status === 503)
  assert.ok(refused.length >= 30)
  for (const { headers, json } of refused) {
    assert.match(String(headers['retry-after']), /^[1-9]\d*$/)
    const problem = json()
    assert.equal(problem.type, 'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity')
    assert.equal(problem.code, 'upstream_overloaded')
  }
  const line = await gateway.logged(({ code }) => code === 'upstream_overloaded')
  assert.equal(line.company_id, 'noisy')
  assert.equal(line.reason, 'the queue for the upstream is full')
  assert.equal(line.level, 'warning')
})

test('who waits for too long is refused', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 1, queueTimeout: '300ms' })
  const held = gateway.ask('acme')
  await until('the slot is taken', async () => (await gateway.row()).in_use === 1)
  const late = await gateway.ask('other')
  assert.equal(late.status, 503)
  assert.equal(late.json().code, 'upstream_overloaded')
  const line = await gateway.logged(({ code }) => code === 'upstream_overloaded')
  assert.ok((line.queue_ms as number) >= 300)
  assert.equal(line.level, 'warning')
  await answerNext(upstream)
  assert.equal((await held).status, 200)
})

test('a client that leaves gives up its place, and its slot', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 1, queueTimeout: 30 })
  const first = open(`${gateway.url}/first`, { headers: of('acme') })
  first.request.end()
  await upstream.request('/first')
  const second = open(`${gateway.url}/second`, { headers: of('acme') })
  second.request.end()
  await gateway.waiting(1)
  second.request.destroy()
  await gateway.waiting(0)
  first.request.destroy()
  const { in_use } = await until('the slot is free', async () => {
    const row = await gateway.row()
    return row.in_use === 0 && row
  })
  assert.equal(in_use, 0)
  assert.equal(upstream.requests.length, 1)
})

test('a stream holds its slot to its end, whoever ends it', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 1, queueTimeout: 30 })
  for (const end of ['service', 'client'] as const) {
    const stream = open(`${gateway.url}/stream-${end}`, { headers: of('acme') })
    stream.request.end()
    const held = await upstream.request(`/stream-${end}`)
    held.response.writeHead(200, { 'content-type': 'text/event-stream' })
    held.response.write('data: 1\n\n')
    const response = await stream.answered
    response.on('error', () => {})
    response.resume()
    const next = gateway.ask('acme', `/next-${end}`)
    assert.equal((await gateway.waiting(1)).in_use, 1)
    if (end === 'service') held.response.end()
    else stream.request.destroy()
    const waited = await upstream.request(`/next-${end}`)
    waited.response.end('done')
    assert.equal((await next).status, 200)
  }
})

test('a WebSocket holds its slot to its end, and waits for one', async context => {
  const service = await socketService()
  context.after(() => service.close())
  const gateway = await queued(context, service.url, { concurrency: 1, queueTimeout: 30 })
  const { client } = await pair(`${gateway.url}/first`, service)
  const plain = gateway.ask('acme', '/plain')
  assert.equal((await gateway.waiting(1)).in_use, 1)
  client.socket.close()
  assert.equal((await plain).status, 200)
  const { client: first } = await pair(`${gateway.url}/second`, service)
  const third = connect(`${gateway.url}/third`)
  assert.equal((await gateway.waiting(1)).in_use, 1)
  first.socket.close()
  const { socket } = await third
  assert.equal((await gateway.row()).in_use, 1)
  // Without a goodbye
  socket.terminate()
  await until('the slot is free', async () => (await gateway.row()).in_use === 0)
})

test('streams of HTTP/2 take turns like any other, and leave like any other', async context => {
  const upstream = await holding(context)
  const http2 = { server: { http2: { cleartext: true } } }
  const gateway = await queued(context, upstream.url, { concurrency: 1, queueTimeout: 30 }, http2)
  const session = await openSession(gateway.url)
  context.after(() => session.destroy())
  const first = request(session, { ':path': '/first', ...of('acme') })
  await upstream.request('/first')
  const left = session.request({ ':path': '/left', ...of('acme') })
  left.on('error', () => {})
  await gateway.waiting(1)
  const last = request(session, { ':path': '/last', ...of('acme') })
  await gateway.waiting(2)
  left.close(constants.NGHTTP2_CANCEL)
  await gateway.waiting(1)
  await answerNext(upstream)
  assert.equal((await first).text, 'done')
  ;(await upstream.request('/last')).response.end('last')
  assert.equal((await last).text, 'last')
  assert.equal(upstream.requests.length, 2)
  await until('the slot is free', async () => (await gateway.row()).in_use === 0)
})

test('an answer that breaks, or never comes, gives its slot back', async context => {
  const upstream = await holding(context)
  const gateway = await queued(context, upstream.url, { concurrency: 1, queueTimeout: 30 })
  const broken = open(`${gateway.url}/broken`, { headers: of('acme') })
  broken.request.end()
  const held = await upstream.request('/broken')
  const refused = gateway.ask('acme', '/refused')
  await gateway.waiting(1)
  held.response.writeHead(200, { 'content-length': '100' })
  held.response.write('some')
  const response = await broken.answered
  response.on('error', () => {})
  response.resume()
  held.response.destroy()
  ;(await upstream.request('/refused')).response.destroy()
  const { status } = await refused
  assert.equal(status, 502)
  await until('the slot is free', async () => (await gateway.row()).in_use === 0)
})

test('an adaptive limit follows what the service can take, down and up', {
  timeout: 120_000,
}, async context => {
  let slots = 12
  let taken = 0
  const queue: ReceivedRequest[] = []
  const serve = (): void => {
    while (taken < slots && queue.length > 0) {
      const { response } = queue.shift()!
      taken++
      setTimeout(
        () => {
          taken--
          response.end('done')
          serve()
        },
        20 + 20 * Math.random(),
      )
    }
  }
  const upstream = await httpUpstream(request => {
    queue.push(request)
    serve()
  })
  context.after(() => upstream.close())
  const gateway = await queued(context, upstream.url, { queueTimeout: 30 })
  let floods = true
  const flood = Array.from({ length: 60 }, async (_, n) => {
    const agent = new Agent({ keepAlive: true })
    const headers = of(`company ${n % 3}`)
    while (floods) await send(`${gateway.url}/work`, { headers, agent, within: 60_000 })
    agent.destroy()
  })
  const within = (what: string, least: number, most: number) =>
    until(
      what,
      async () => {
        const { limit } = await gateway.row()
        return limit >= least && limit <= most
      },
      60_000,
    )
  await within('it finds twelve slots', 9, 15)
  slots = 3
  await within('it falls with them', 2, 5)
  slots = 12
  await within('it comes back with them', 9, 15)
  floods = false
  await Promise.all(flood)
  assert.equal((await gateway.row()).refused, 0)
})
