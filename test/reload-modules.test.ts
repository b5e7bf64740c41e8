/** Config modules are read anew, and workers follow all together or not at all. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { send } from './support/client.ts'
import { type ReloadingOptions, startReloading } from './support/reloading.ts'
import { until } from './support/until.ts'
import { placedConnections, workersOf } from './support/workers.ts'

const MODULE = (text: string, more = ''): string => `
import { threadId } from 'node:worker_threads'
import { defineGateway, type Policy, reply } from 'nyro-gateway'
${more}
const said: Policy = () => reply(200, [], '${text}')
const who: Policy = () => reply(200, [], String(threadId))
const exit: Policy = () => process.exit(7)
const route = (path: string, policy: Policy) => ({ path, auth: 'none' as const, respond: {}, policies: [policy] })
export default defineGateway({
  routes: [
    route('/said', said),
    route('/who', who),
    route('/exit', exit),
    { path: '/plain', auth: 'none', respond: { body: 'plain' } },
  ],
})
`
const options: ReloadingOptions = { name: 'gateway.config.ts' }
const two: ReloadingOptions = { ...options, env: { GATEWAY_WORKERS: '2' } }

async function said(url: string): Promise<string[]> {
  const texts = new Set<string>()
  for (let time = 0; time < 8; time++) texts.add((await send(`${url}/said`)).text)
  return [...texts]
}

test('an edited module is read anew, its policies too, and the same one is the same', async () => {
  const gateway = await startReloading(MODULE('one'), options)
  try {
    assert.deepEqual(await said(gateway.url), ['one'])
    const same = await gateway.reload()
    assert.deepEqual([same.event, same.changed], ['Configuration reloaded', []])
    const edited = await gateway.reload(MODULE('two'))
    assert.deepEqual(edited.changed, ['/said', '/who', '/exit'], 'a policy may be another one')
    assert.deepEqual(await said(gateway.url), ['two'])
    const broken = await gateway.reload(MODULE('three', "throw new Error('no such plan')"))
    assert.equal(broken.event, 'Configuration not reloaded: the old one stays')
    assert.match(String(broken.problems), /gateway\.config\.ts cannot be read: no such plan/)
    assert.deepEqual(await said(gateway.url), ['two'])
    assert.equal((await gateway.reload(MODULE('one'))).event, 'Configuration reloaded')
    assert.deepEqual(await said(gateway.url), ['one'])
  } finally {
    await gateway.stop()
  }
})

test('what has failed once is tried again, though its text is the same', async () => {
  const once =
    'if (!process.env.NYRO_TEST_PASS) { process.env.NYRO_TEST_PASS = "1"; throw new Error("once") }'
  const gateway = await startReloading(MODULE('one'), { ...options, env: { GATEWAY_WORKERS: '1' } })
  try {
    assert.match(String((await gateway.reload(MODULE('two', once))).problems), /once/)
    assert.equal((await gateway.reload()).event, 'Configuration reloaded')
    assert.deepEqual(await said(gateway.url), ['two'])
  } finally {
    await gateway.stop()
  }
})

test('where one worker cannot follow, none does', async () => {
  const gateway = await startReloading(MODULE('one'), two)
  try {
    const refused = await gateway.reload(MODULE('two', "if (threadId === 2) throw new Error('not here')"))
    assert.match(String(refused.problems), /not here/)
    assert.deepEqual(await said(gateway.url), ['one'])
    assert.deepEqual(
      (await workersOf(gateway)).map(({ restarts }) => restarts),
      [0, 0],
    )
    assert.equal((await gateway.reload(MODULE('three'))).event, 'Configuration reloaded')
    assert.deepEqual(await said(gateway.url), ['three'])
  } finally {
    await gateway.stop()
  }
})

test('a worker that dies later comes back with the new configuration', async () => {
  const env = (name: string): string => `GATEWAY_PROJECT_NAME=${name}\nGATEWAY_HOST=127.0.0.1\n`
  const gateway = await startReloading(MODULE('one'), { ...two, files: { '.env': env('One') } })
  const names = async (): Promise<string[]> => {
    const found = new Set<string>()
    for (let time = 0; time < 16; time++)
      found.add((await send(`${gateway.url}/health`)).json().service as string)
    return [...found]
  }
  try {
    gateway.directory.write('.env', env('Two'))
    await gateway.reload(MODULE('two'))
    // Nobody asked for this one
    gateway.directory.write('.env', env('Three'))
    const [placed] = [...(await placedConnections(gateway.port, 1)).values()]
    placed![0]!.connection.write('GET /exit HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('another worker is there', async () => {
      const rows = await workersOf(gateway)
      return rows.some(({ restarts }) => restarts === 1) && rows.every(({ state }) => state === 'ready')
    })
    await placedConnections(gateway.port, 1)
    assert.deepEqual(await said(gateway.url), ['two'])
    assert.deepEqual(await names(), ['Two'])
    // Those that are there from the start and the one that came later go on together
    assert.equal((await gateway.reload(MODULE('four'))).event, 'Configuration reloaded')
    assert.deepEqual(await said(gateway.url), ['four'])
    assert.deepEqual(await names(), ['Three'])
  } finally {
    await gateway.stop()
  }
})
