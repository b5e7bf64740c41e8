/** Where usage is kept: Redis for several gateways, a file for one, nowhere unless asked for; and what keeps it from being kept. */

import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { send } from './support/client.ts'
import { configDirectory } from './support/config.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { needsRedis, startRedis } from './support/redis.ts'
import { until } from './support/until.ts'
import { counted, ofCompany, rowOf } from './support/usage.ts'

const skip = await needsRedis()

test('several gateways on one Redis give the sum, also after one was killed', { skip }, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const directory = configDirectory()
  context.after(() => directory.remove())
  const file = directory.write('gateway.config.json', {
    usage: { flush: '50ms' },
    redis: { url: redis.url, timeout: '1s' },
    routes: [{ name: 'reports', path: '/reports', respond: { body: 'report' } }],
  })
  const gateways = await Promise.all(
    [1, 2].map(async workers => started(context, file, { GATEWAY_WORKERS: String(workers) })),
  )
  const [first, second] = gateways as [GatewayProcess, GatewayProcess]
  for (const gateway of gateways) {
    for (let index = 0; index < 10; index++)
      await send(`${gateway.url}/reports`, { headers: ofCompany('acme') })
  }
  await until('both have written', async () => (await rowOf(first, 'acme', 'reports')).requests === 20)
  second.child.kill('SIGKILL')
  assert.equal((await rowOf(first, 'acme', 'reports')).requests, 20)
  const table = await runCommand(['usage', '--config', file], { env: {} })
  assert.equal(table.code, 0, table.stderr)
  assert.match(table.stdout, /acme +reports +20 /)
  // Away, it costs an answer and no count
  await redis.kill()
  await send(`${first.url}/reports`, { headers: ofCompany('acme') })
  const away = await send(`${first.adminUrl}/usage`)
  assert.equal(away.status, 503)
  await first.logged(({ event }) => String(event).startsWith('Usage cannot be written'))
  const again = await startRedis(redis.port)
  context.after(() => again.stop())
  await counted(first, 'acme', 'reports', 1)
  await first.logged(({ event }) => event === 'Usage is written again')
  assert.equal(await first.stop(), 0)
})

test('what Redis did not take before the end is counted after the next start', { skip }, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const directory = configDirectory()
  context.after(() => directory.remove())
  const file = directory.write('gateway.config.json', {
    usage: { flush: '50ms', unsent: `${directory.path}/unsent.json` },
    redis: { url: redis.url },
    routes: [{ name: 'reports', path: '/reports', respond: { body: 'report' } }],
  })
  const ask = (gateway: GatewayProcess) => send(`${gateway.url}/reports`, { headers: ofCompany('acme') })
  const first = await started(context, file, {})
  await ask(first)
  await counted(first, 'acme', 'reports', 1)
  await redis.stop()
  for (let index = 0; index < 3; index++) await ask(first)
  assert.equal(await first.stop(), 0)
  const [kept] = first.log.filter(({ event }) => String(event).startsWith('Usage is kept for the next start'))
  assert.equal(kept?.requests, 3)
  const again = await startRedis(redis.port)
  context.after(() => again.stop())
  const second = await started(context, file, {})
  await second.logged(({ event }) => event === 'Usage of an earlier run is written')
  assert.equal(
    (await rowOf(second, 'acme', 'reports')).requests,
    3,
    'this Redis keeps nothing over its own restart',
  )
  assert.equal(await second.stop(), 0)
})

async function started(
  context: TestContext,
  file: string,
  env: Record<string, string>,
): Promise<GatewayProcess> {
  const gateway = await startGateway({ args: ['--config', file], env: { GATEWAY_ADMIN_PORT: '0', ...env } })
  context.after(() => gateway.child.kill('SIGKILL'))
  return gateway
}

describe('usage that is not configured, or cannot be kept', () => {
  test('is not counted, and says so', async context => {
    const directory = configDirectory()
    context.after(() => directory.remove())
    const file = directory.write('gateway.config.json', {
      routes: [{ path: '/a', auth: 'none', respond: {} }],
    })
    const gateway = await started(context, file, {})
    const answer = await send(`${gateway.adminUrl}/usage`)
    assert.equal(answer.status, 404)
    assert.match(answer.json().detail, /GATEWAY_USAGE_FILE/)
    assert.equal(await gateway.stop(), 0)
    const command = await runCommand(['usage', '--config', file])
    assert.equal(command.code, 78)
    assert.match(command.stderr, /usage is not counted/)
  })

  test('is refused at the start, with the place and the remedy', async context => {
    const directory = configDirectory()
    context.after(() => directory.remove())
    const broken = directory.write(
      'broken.db',
      'this is no database, and longer than its header would be'.repeat(20),
    )
    for (const [env, code, says] of [
      [
        { GATEWAY_USAGE_FILE: `${directory.path}/none/usage.db` },
        78,
        /GATEWAY_USAGE_FILE.*no directory that can be written/,
      ],
      [{ GATEWAY_USAGE_FILE: directory.path }, 78, /GATEWAY_USAGE_FILE.*is no file/],
      [{ GATEWAY_USAGE_FILE: broken }, 1, /usage cannot be kept: .*broken\.db: file is not a database/],
    ] as const) {
      const { code: ended, stderr } = await runCommand(['start'], { env })
      assert.match(stderr, says)
      assert.doesNotMatch(stderr, /^\s+at /m)
      assert.equal(ended, code)
    }
  })

  for (const [what, args, code, says] of [
    ['a day that is none', ['usage', '--from', '2026-02-30'], 64, /--from must be a day/],
    ['an option of usage for another command', ['check', '--company', 'a'], 64, /--company belongs to usage/],
    ['a file that is not there', ['usage'], 1, /does not exist: nothing has been counted/],
  ] as const) {
    test(`${what}: exit ${code}`, async context => {
      const directory = configDirectory()
      context.after(() => directory.remove())
      const env = { GATEWAY_USAGE_FILE: `${directory.path}/usage.db` }
      const { code: ended, stderr, stdout } = await runCommand(args, { env })
      assert.equal(ended, code, stderr)
      assert.match(stderr, says)
      assert.equal(stdout, '')
    })
  }
})
