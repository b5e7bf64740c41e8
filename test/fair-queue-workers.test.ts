/** Several workers in front of one upstream: one limit, one queue, and workers that die. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { send } from './support/client.ts'
import { configDirectory } from './support/config.ts'
import { startGateway } from './support/gateway.ts'
import { httpUpstream } from './support/http-upstream.ts'
import { until } from './support/until.ts'
import { placedConnections } from './support/workers.ts'

const CONFIG = `
import { writeFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { defineGateway, reply } from 'nyro-gateway'
const route = (path, policy) => ({ path, auth: 'none', respond: {}, policies: [policy] })
export default defineGateway({
  server: { trustedProxies: ['127.0.0.1'] },
  upstreams: { service: { url: process.env.SERVICE_URL, fairQueue: { concurrency: 4, queueTimeout: 30 } } },
  routes: [
    route('/who', () => reply(200, [], String(threadId))),
    route('/exit', () => process.exit(7)),
    route('/spin', () => {
      writeFileSync(process.env.SPINS, '')
      const end = performance.now() + 6000
      while (performance.now() < end);
      return reply(204, [])
    }),
    { path: '/held/*', auth: 'none', upstream: 'service' },
  ],
})
`

const heldFor = (who: 'a' | 'b'): string =>
  `GET /held/${who} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.${who === 'a' ? 1 : 2}\r\n\r\n`

async function started(context: TestContext) {
  const upstream = await httpUpstream(() => {})
  const directory = configDirectory()
  const gateway = await startGateway({
    args: ['--config', directory.write('gateway.config.mjs', CONFIG)],
    env: {
      GATEWAY_WORKERS: '2',
      GATEWAY_ADMIN_PORT: '0',
      GATEWAY_INGEST_SERVICE_URL: undefined,
      GATEWAY_QUERY_SERVICE_URL: undefined,
      SERVICE_URL: upstream.url,
      SPINS: `${directory.path}/spins`,
    },
  })
  context.after(async () => {
    await gateway.stop('SIGKILL')
    await upstream.close()
    directory.remove()
  })
  const placed = await placedConnections(gateway.port, 8)
  const row = async () => (await send(`${gateway.adminUrl}/upstreams`)).json()[0]
  const [one, other] = [...placed.values()].map(list => list.map(({ connection }) => connection))
  const held = heldFor('a')
  const spins = (): boolean => existsSync(`${directory.path}/spins`)
  const shows = (what: string, fits: (row: { in_use: number; waiting: number }) => boolean) =>
    until(what, async () => fits(await row()))
  return { gateway, upstream, one: one!, other: other!, held, shows, spins }
}

test('the limit is one for all workers, and a slot that one frees may be for another', async context => {
  const { upstream, one, other, held, shows } = await started(context)
  for (const connection of one.slice(0, 4)) connection.write(held)
  await shows('all slots are with one worker', row => row.in_use === 4 && row.waiting === 0)
  for (const connection of other.slice(0, 3)) connection.write(held)
  await shows('three wait with the other', row => row.in_use === 4 && row.waiting === 3)
  await until('four are at the service', () => upstream.requests.length === 4)
  for (const { response } of upstream.requests.slice(0, 3)) response.end('done')
  await shows('they have their slots', row => row.in_use === 4 && row.waiting === 0)
  await until('they are at the service', () => upstream.requests.length === 7)
  for (const { response } of upstream.requests) response.end('done')
  for (const connection of [...one.slice(0, 4), ...other.slice(0, 3)])
    await connection.until(text => text.endsWith('done'))
  await shows('all slots are free', row => row.in_use === 0)
})

test('a worker that dies gives back its slots and its places in the queue', async context => {
  const { gateway, upstream, one, other, held, shows } = await started(context)
  for (const connection of one.slice(0, 4)) connection.write(held)
  await shows('all slots are with one worker', row => row.in_use === 4)
  one[4]!.write(held)
  for (const connection of other.slice(0, 2)) connection.write(held)
  await shows('three wait', row => row.waiting === 3)
  one[5]!.write('GET /exit HTTP/1.1\r\nHost: a\r\n\r\n')
  await gateway.logged(({ event }) => event === 'Worker died: another takes its place')
  await shows('the others have their slots', row => row.in_use === 2 && row.waiting === 0)
  await until('they are at the service', () => upstream.requests.length === 6)
  for (const { response } of upstream.requests.slice(4)) response.end('done')
  for (const connection of other.slice(0, 2)) await connection.until(text => text.endsWith('done'))
  await shows('all slots are free', row => row.in_use === 0)
})

test('a worker that hangs with the one that is next does not hold up the others', async context => {
  const { upstream, one, other, held, shows, spins } = await started(context)
  for (const connection of one.slice(0, 6)) connection.write(held)
  await shows('all slots are with one worker, where two wait', row => row.in_use === 4 && row.waiting === 2)
  upstream.requests[0]!.response.end('done')
  await until('one of them had its turn', () => upstream.requests.length === 5)
  // Whoever had none yet is next
  other[0]!.write(heldFor('b'))
  await shows('the next one is with the other', row => row.waiting === 2)
  other[1]!.write('GET /spin HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('it hangs', spins)
  upstream.requests[1]!.response.end('done')
  await until('one was served meanwhile', () => upstream.requests.length === 6, 4000)
  assert.equal(upstream.requests[5]!.target, '/held/a')
  upstream.requests[2]!.response.end('done')
  await until('the other was served when it could', () => upstream.requests.length === 7)
  assert.equal(upstream.requests[6]!.target, '/held/b')
})
