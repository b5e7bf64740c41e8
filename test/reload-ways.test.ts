/** Ways to have the configuration loaded again besides SIGHUP: a file that changes, and the admin port. */

import assert from 'node:assert/strict'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { send } from './support/client.ts'
import { configDirectory } from './support/config.ts'
import { startGateway } from './support/gateway.ts'
import { startReloading } from './support/reloading.ts'
import { until } from './support/until.ts'

const saying = (body: string) => ({
  routes: [{ name: body, path: '/said', auth: 'none', respond: { body } }],
})

const watching = { env: { GATEWAY_RELOAD_ON_CHANGE: 'true' } }
const says = (gateway: { url: string }, body: string) =>
  until(`it says ${body}`, async () => (await send(`${gateway.url}/said`)).text === body)

describe('a file that changes', () => {
  test('is loaded again, written to or replaced, and what is wrong with it is told', async context => {
    const gateway = await startReloading(saying('one'), watching)
    context.after(() => gateway.stop())
    gateway.write(saying('two'))
    await says(gateway, 'two')
    const file = join(gateway.directory.path, 'gateway.config.json')
    writeFileSync(`${file}.new`, JSON.stringify(saying('three')))
    renameSync(`${file}.new`, file)
    await says(gateway, 'three')
    gateway.write({ routes: [{ path: 'nowhere' }] })
    await until('it is refused', () => gateway.outcomes().length === 3)
    assert.equal(gateway.outcomes()[2]!.event, 'Configuration not reloaded: the old one stays')
    await says(gateway, 'three')
    // Told once, however long it stays like that
    await delay(2_500)
    assert.equal(gateway.outcomes().length, 3)
    gateway.write(saying('four'))
    await says(gateway, 'four')
  })

  test('behind a link that is swapped, as Kubernetes does with a ConfigMap', async context => {
    const directory = configDirectory()
    context.after(() => directory.remove())
    const mounted = join(directory.path, 'mounted')
    mkdirSync(mounted)
    const version = (name: string): string => {
      mkdirSync(join(mounted, name))
      writeFileSync(join(mounted, name, 'gateway.config.json'), JSON.stringify(saying(name)))
      return name
    }
    symlinkSync(version('..first'), join(mounted, '..data'))
    symlinkSync('..data/gateway.config.json', join(mounted, 'gateway.config.json'))
    const gateway = await startGateway({
      args: ['--config', join(mounted, 'gateway.config.json')],
      env: {
        ...watching.env,
        GATEWAY_INGEST_SERVICE_URL: undefined,
        GATEWAY_QUERY_SERVICE_URL: undefined,
      },
    })
    context.after(() => gateway.stop())
    await says(gateway, '..first')
    symlinkSync(version('..second'), join(mounted, '..data_tmp'))
    renameSync(join(mounted, '..data_tmp'), join(mounted, '..data'))
    rmSync(join(mounted, '..first'), { recursive: true })
    await says(gateway, '..second')
  })

  test('.env as well, unless nobody asked for it', async context => {
    const names = async (options: Parameters<typeof startReloading>[1]) => {
      const gateway = await startReloading(saying('one'), {
        ...options,
        files: { '.env': 'GATEWAY_PROJECT_NAME=One\n' },
      })
      context.after(() => gateway.stop())
      gateway.directory.write('.env', 'GATEWAY_PROJECT_NAME=Two\n')
      return gateway
    }
    const [watches, does] = [await names(watching), await names({})]
    const name = async ({ url }: { url: string }) => (await send(`${url}/health`)).json().service
    await until('it has the new name', async () => (await name(watches)) === 'Two')
    assert.equal(await name(does), 'One')
    assert.equal(does.outcomes().length, 0)
  })
})

describe('POST /reload', () => {
  const reload = (url: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
    send(`${url}/reload`, { method: 'POST', headers, body: '{}' })

  async function started(context: TestContext) {
    const gateway = await startReloading(saying('one'))
    context.after(() => gateway.stop())
    return gateway
  }

  test('loads it again, and answers when all workers have it', async context => {
    const gateway = await started(context)
    gateway.write({ ...saying('two'), server: { port: 1234 } })
    const { status, ...answer } = await reload(gateway.adminUrl!)
    assert.equal(status, 200)
    assert.deepEqual(answer.json(), {
      added: ['two'],
      changed: [],
      removed: ['one'],
      upstreams_kept: 0,
      upstreams_closed: 0,
      restart_keys: [],
    })
    for (let time = 0; time < 8; time++) assert.equal((await send(`${gateway.url}/said`)).text, 'two')
    assert.deepEqual((await reload(gateway.adminUrl!)).json().added, [])
  })

  test('with anything wrong in it: 422 with the problems', async context => {
    const gateway = await started(context)
    gateway.write({ routes: [{ path: 'nowhere' }, { path: '/x', upstream: 'none' }] })
    const answer = await reload(gateway.adminUrl!)
    assert.equal(answer.status, 422)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    const { problems, detail } = answer.json()
    assert.equal(detail, 'The configuration has problems: the old one stays.')
    assert.ok(problems.length >= 2)
    assert.match(problems[0].place, /gateway\.config\.json/)
    assert.equal((await send(`${gateway.url}/said`)).text, 'one')
  })

  test('not for a page in a browser, and not by GET', async context => {
    const gateway = await started(context)
    assert.equal((await reload(gateway.adminUrl!, { 'content-type': 'text/plain' })).status, 415)
    assert.equal((await reload(gateway.adminUrl!, {})).status, 415)
    assert.equal((await send(`${gateway.adminUrl}/reload`)).status, 404)
    const foreign = { 'content-type': 'application/json', host: 'evil.example' }
    assert.equal((await reload(gateway.adminUrl!, foreign)).status, 421)
    assert.equal(gateway.outcomes().length, 0)
  })
})
