/** SIGHUP: another configuration while requests, WebSockets and event streams go on. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { bearer, send } from './support/client.ts'
import { configDirectory } from './support/config.ts'
import { openConnection } from './support/connection.ts'
import { type LogRecord, startGateway } from './support/gateway.ts'
import { httpUpstream, type ReceivedRequest, whenWhole } from './support/http-upstream.ts'
import { parseAnswer } from './support/problem.ts'
import { startReloading, WORKERS } from './support/reloading.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { ask } from './support/workers.ts'

const respond = (path: string, body: string) => ({ path, auth: 'none', respond: { body } })

async function reloading(context: TestContext, ...args: Parameters<typeof startReloading>) {
  const gateway = await startReloading(...args)
  context.after(() => gateway.stop())
  return gateway
}

/** Enough that each of two workers is asked. */
const TIMES = 8

async function answers(url: string): Promise<string[]> {
  const texts = new Set<string>()
  for (let time = 0; time < TIMES; time++) {
    const { status, text } = await send(url)
    texts.add(status === 200 ? text : String(status))
  }
  return [...texts]
}

const problemsOf = ({ problems }: LogRecord): string => (problems as string[]).join('\n')

test('a good file takes the place of the old one, and says what is different', async context => {
  const gateway = await reloading(context, {
    routes: [respond('/kept', 'kept'), respond('/changed', 'old'), respond('/gone', 'gone')],
  })
  const record = await gateway.reload({
    name: 'Another',
    routes: [respond('/new', 'new'), respond('/changed', 'new'), respond('/kept', 'kept')],
  })
  assert.equal(record.event, 'Configuration reloaded')
  const { routes, added, changed, removed } = record
  assert.deepEqual(
    { routes, added, changed, removed },
    { routes: 3, added: ['/new'], changed: ['/changed'], removed: ['/gone'] },
  )
  assert.ok(Number(record.duration) > 0)
  assert.deepEqual(await answers(`${gateway.url}/changed`), ['new'])
  assert.deepEqual(await answers(`${gateway.url}/new`), ['new'])
  assert.deepEqual(await answers(`${gateway.url}/kept`), ['kept'])
  assert.deepEqual(await answers(`${gateway.url}/gone`), ['404'])
  assert.equal((await send(`${gateway.url}/health`)).json().service, 'Another')
  const shown = (await send(`${gateway.adminUrl}/routes`)).json() as { name: string }[]
  assert.deepEqual(
    shown.map(({ name }) => name),
    ['/new', '/changed', '/kept'],
  )
  assert.equal((await send(`${gateway.adminUrl}/health`)).json().service, 'Another')
})

test('a wrong file changes nothing, and every problem is logged', async context => {
  const good = { name: 'Good', routes: [respond('/here', 'good')] }
  const gateway = await reloading(context, good)
  const before = gateway.log.length
  const several = await gateway.reload({ name: 'Bad', rotes: [], routes: [{ path: 'x', respond: {} }] })
  assert.equal(several.level, 'error')
  assert.match(problemsOf(several), /gateway\.config\.json:\d+:\d+: rotes .*[\s\S]*path/)
  assert.match(problemsOf(await gateway.reload('{ "name": ')), /gateway\.config\.json:1/)
  assert.equal(gateway.log.slice(before).filter(({ event }) => event === 'Configuration reloaded').length, 0)
  assert.deepEqual(await answers(`${gateway.url}/here`), ['good'])
  assert.equal((await send(`${gateway.url}/health`)).json().service, 'Good')
  const { event, changed } = await gateway.reload({ ...good, routes: [respond('/here', 'better')] })
  assert.deepEqual([event, changed], ['Configuration reloaded', ['/here']])
  assert.deepEqual(await answers(`${gateway.url}/here`), ['better'])
})

test('what cannot change stays and is named, the rest takes effect', async context => {
  const gateway = await reloading(context, { routes: [respond('/x', 'one')] })
  gateway.write({ log: { level: 'warning' }, routes: [respond('/x', 'two')] })
  gateway.child.kill('SIGHUP')
  await until('all workers have it', async () => (await answers(`${gateway.url}/x`)).join() === 'two')
  const { event } = await gateway.reload({
    // How many workers there are is said by the environment, which wins over the file
    server: { workers: 3, http2: { maxResets: 50 } },
    log: { level: 'info', format: 'pretty' },
    routes: [respond('/x', 'three'), respond('/loud', 'loud')],
  })
  assert.equal(event, 'Configuration reloaded')
  const warnings = gateway.log.filter(({ event }) => String(event).startsWith('Settings that need'))
  assert.deepEqual(warnings.at(-1)!.keys, ['log.format'])
  assert.deepEqual(await answers(`${gateway.url}/loud`), ['loud'])
  await gateway.logged(({ path }) => path === '/loud')
})

test('requests in flight end where they began; connections go on', async context => {
  const held: ReceivedRequest[] = []
  const old = await httpUpstream(request =>
    request.target.includes('held') ? void held.push(request) : whenWhole(request),
  )
  const kept = await httpUpstream()
  const next = await httpUpstream()
  context.after(() => Promise.all([old, kept, next].map(each => each.close())))
  const config = (url: string) => ({
    upstreams: { service: { url, idleTimeout: 60 }, kept: { url: kept.url, idleTimeout: 60 } },
    routes: [
      { path: '/service/*', auth: 'none', upstream: 'service' },
      { path: '/kept/*', auth: 'none', upstream: 'kept' },
      { path: '/own/*', auth: 'none', upstream: { url: kept.url, idleTimeout: 60 } },
    ],
  })
  const gateway = await reloading(context, config(old.url))
  const slow = await openConnection(gateway.port)
  slow.write('GET /service/held HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('it is in flight', () => held.length === 1)
  const connection = await openConnection(gateway.port)
  for (const path of ['/kept/1', '/own/1', '/service/1'])
    assert.equal((await ask(connection, path)).status, 200)
  assert.equal(old.sockets.size, 2)
  const keptSockets = [...kept.sockets]
  assert.equal(keptSockets.length, 2)

  const { changed, upstreams_kept, upstreams_closed } = await gateway.reload(config(next.url))
  assert.deepEqual([changed, upstreams_kept, upstreams_closed], [['/service/*'], 2, 1])
  await until('the idle connection is closed, the busy one is not', () => old.sockets.size === 1)
  for (const path of ['/kept/2', '/own/2', '/service/2'])
    assert.equal((await ask(connection, path)).status, 200)
  assert.deepEqual([...kept.sockets], keptSockets, 'the same connections')
  assert.equal(next.requests.length, 1)
  held[0]!.response.end('from the old one')
  assert.equal(parseAnswer(await slow.until(text => text.includes('from the old one'))).status, 200)
  await old.quiet()
  assert.equal((await ask(slow, '/service/3')).status, 200)
  assert.equal(next.requests.length, 2)
})

test('a connection of HTTP/2 goes on, and its next request is for the new one', async context => {
  const config = (body: string) => ({
    server: { http2: { cleartext: true }, headerTimeout: body === 'old' ? 10 : 20 },
    routes: [respond('/x', body)],
  })
  const gateway = await reloading(context, config('old'))
  const session = http2.connect(gateway.url)
  context.after(() => session.destroy())
  const get = async (): Promise<string> =>
    (await session.request({ ':path': '/x' }).setEncoding('utf8').toArray()).join('')
  assert.equal(await get(), 'old')
  await gateway.reload(config('new'))
  assert.equal(await get(), 'new')
})

test('under load no request fails, and upstreams that are gone keep no connections', async context => {
  const [one, two] = [await httpUpstream(), await httpUpstream()]
  context.after(() => Promise.all([one.close(), two.close()]))
  const config = (round: number) => ({
    name: `Round ${round}`,
    routes: [
      { path: '/*', auth: 'none', upstream: { url: (round % 2 ? one : two).url, idleTimeout: 60 } },
      respond(`/round-${round}`, 'x'),
    ],
  })
  const gateway = await reloading(context, config(0))
  const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
  const failures: string[] = []
  let answered = 0
  let going = true
  const load = async (): Promise<void> => {
    while (going) {
      await delay(80)
      const method = answered % 3 === 0 ? 'POST' : 'GET'
      const body = method === 'POST' ? 'x'.repeat(1_000) : ''
      await send(`${gateway.url}/load`, { agent, method, body }).then(
        ({ status }) => (status === 200 ? answered++ : failures.push(String(status))),
        error => failures.push(String(error)),
      )
    }
  }
  const clients = Array.from({ length: 8 }, load)
  await until('the load is on', () => answered > 50)
  for (let round = 1; round <= 30; round++) {
    const { event } = await gateway.reload(config(round))
    assert.equal(event, 'Configuration reloaded')
  }
  going = false
  await Promise.all(clients)
  agent.destroy()
  assert.deepEqual(failures, [])
  context.diagnostic(`${answered} answers over 30 reloads`)
  assert.ok(one.requests.length > 0 && two.requests.length > 0)
  // The last is round 30, of the second
  await one.quiet()
})

test('a reload while the gateway stops is ignored', async context => {
  const gateway = await reloading(context, { server: { drainDelay: 2 }, routes: [respond('/x', 'old')] })
  gateway.write({ routes: [respond('/x', 'new')] })
  const ended = once(gateway.child, 'exit')
  gateway.child.kill('SIGTERM')
  await gateway.logged(({ event }) => event === 'Gateway draining')
  gateway.child.kill('SIGHUP')
  assert.deepEqual(await answers(`${gateway.url}/x`), ['old'])
  assert.deepEqual(await ended, [0, null])
  assert.deepEqual(gateway.outcomes(), [])
})

test('what was revoked stays revoked', async context => {
  const routes = [{ path: '/mine', respond: { body: 'mine' } }]
  const gateway = await reloading(context, { routes })
  const [good, blocked] = [token(), token(claims({ sub: 'somebody-else' }))]
  const status = async (given: string) =>
    (await send(`${gateway.url}/mine`, { headers: bearer(given) })).status
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ user_id: 'somebody-else' })
  assert.equal((await send(`${gateway.adminUrl}/revocations`, { method: 'POST', headers, body })).status, 204)
  assert.deepEqual([await status(good), await status(blocked)], [200, 401])
  // The second time tokens have to be verified anew
  for (const tenantClaim of ['app_metadata.company_id', 'sub']) {
    await gateway.reload({ name: 'Again', identity: { tenantClaim }, routes })
    assert.deepEqual([await status(good), await status(blocked)], [200, 401])
  }
})

test('one signal after the other is taken, and the last file counts', async context => {
  const gateway = await reloading(context, { routes: [respond('/x', '0')] })
  for (let round = 1; round <= 20; round++) {
    gateway.write({ routes: [respond('/x', String(round))] })
    gateway.child.kill('SIGHUP')
    await delay(5)
  }
  await until('the last file is read', async () => (await send(`${gateway.url}/x`)).text === '20')
  assert.deepEqual(await answers(`${gateway.url}/x`), ['20'])
  assert.ok(gateway.outcomes().every(({ event }) => event === 'Configuration reloaded'))
  assert.equal((await send(`${gateway.adminUrl}/workers`)).json().length, WORKERS)
})

test('a file that is just being written, or moved away, is no configuration', async context => {
  const gateway = await reloading(context, { routes: [respond('/kept', 'kept')] })
  // As it lies there between the two calls that open a file to write, and write
  const empty = await gateway.reload('')
  assert.equal(empty.event, 'Configuration not reloaded: the old one stays')
  assert.match(problemsOf(empty), /gateway\.config\.json is empty/)
  assert.deepEqual(await answers(`${gateway.url}/kept`), ['kept'])
})

test('a file that was found by its name stays the one, also while it is away', async context => {
  const directory = configDirectory()
  directory.write('gateway.config.json', { routes: [respond('/kept', 'kept')] })
  const gateway = await startGateway({ cwd: directory.path, env: { GATEWAY_WORKERS: String(WORKERS) } })
  context.after(async () => {
    await gateway.stop()
    directory.remove()
  })
  rmSync(join(directory.path, 'gateway.config.json'))
  gateway.child.kill('SIGHUP')
  const record = await gateway.logged(({ event }) => String(event).startsWith('Configuration'))
  assert.equal(record.event, 'Configuration not reloaded: the old one stays')
  assert.match(problemsOf(record), /gateway\.config\.json does not exist/)
  assert.deepEqual(await answers(`${gateway.url}/kept`), ['kept'])
})
