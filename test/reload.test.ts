/** SIGHUP: another configuration while requests, WebSockets and event streams go on. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { send } from './support/client.ts'
import { startReloading } from './support/reloading.ts'

const respond = (path: string, body: string) => ({ path, auth: 'none', respond: { body } })

async function reloading(context: TestContext, ...args: Parameters<typeof startReloading>) {
  const gateway = await startReloading(...args)
  context.after(() => gateway.stop())
  return gateway
}

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
    {
      routes: 3,
      added: ['/new'],
      changed: ['/changed'],
      removed: ['/gone'],
    },
  )
  assert.ok(Number(record.duration) > 0)
  for (let time = 0; time < 8; time++) {
    assert.equal((await send(`${gateway.url}/changed`)).text, 'new')
    assert.equal((await send(`${gateway.url}/new`)).text, 'new')
    assert.equal((await send(`${gateway.url}/kept`)).text, 'kept')
    assert.equal((await send(`${gateway.url}/gone`)).status, 404)
    assert.equal((await send(`${gateway.url}/health`)).json().service, 'Another')
  }
  const routesShown = (await send(`${gateway.adminUrl}/routes`)).json() as { name: string }[]
  assert.deepEqual(
    routesShown.map(({ name }) => name),
    ['/new', '/changed', '/kept'],
  )
  assert.equal((await send(`${gateway.adminUrl}/health`)).json().service, 'Another')
})
