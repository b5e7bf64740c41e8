/** Quotas of days and months over restarts: in the file that has the usage. */

import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'

function prepared(context: TestContext): ConfigDirectory {
  const directory = configDirectory()
  context.after(() => directory.remove())
  directory.write('gateway.config.json', {
    usage: { file: `${directory.path}/usage.db` },
    limits: {
      defaultPlan: 'free',
      plans: {
        free: {
          rules: [
            { name: 'daily', limit: 5, window: 'day' },
            { name: 'cost', limit: 2, window: 'month', unit: 'cost', routes: ['dear'] },
          ],
        },
      },
    },
    routes: [
      { name: 'cheap', path: '/cheap', respond: {} },
      { name: 'dear', path: '/dear', respond: {}, cost: 0.75 },
    ],
  })
  return directory
}

async function started(context: TestContext, { path }: ConfigDirectory): Promise<GatewayProcess> {
  const none = { GATEWAY_INGEST_SERVICE_URL: undefined, GATEWAY_QUERY_SERVICE_URL: undefined }
  const gateway = await startGateway({ args: ['--config', `${path}/gateway.config.json`], env: none })
  context.after(() => gateway.stop('SIGKILL'))
  return gateway
}

const of = (company: string) => bearer(token(claims({ app_metadata: { company_id: company } })))

async function statuses(
  { url }: GatewayProcess,
  count: number,
  path: string,
  company: string,
): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < count; i++) found.push((await send(`${url}${path}`, { headers: of(company) })).status)
  return found
}

test('what is used stays used when the gateway is started again', async context => {
  const directory = prepared(context)
  const before = await started(context, directory)
  assert.deepEqual(await statuses(before, 3, '/cheap', 'acme'), [200, 200, 200])
  assert.deepEqual(await statuses(before, 2, '/dear', 'umbrella'), [200, 200])
  assert.equal(await before.stop(), 0)
  const again = await started(context, directory)
  assert.deepEqual(await statuses(again, 3, '/cheap', 'acme'), [200, 200, 429])
  assert.deepEqual(await statuses(again, 1, '/dear', 'umbrella'), [429])
  assert.deepEqual(await statuses(again, 1, '/cheap', 'other'), [200])
  assert.equal(await again.stop(), 0)
  const third = await started(context, directory)
  assert.deepEqual(await statuses(third, 1, '/cheap', 'acme'), [429])
})

test('what was written is known even to one that follows a gateway that was killed', async context => {
  const directory = prepared(context)
  const before = await started(context, directory)
  await statuses(before, 4, '/cheap', 'acme')
  await until('it is written', () => {
    const database = new DatabaseSync(`${directory.path}/usage.db`, { readOnly: true })
    try {
      return (
        database.prepare("SELECT used FROM quotas WHERE key = 'daily|quota requests|company:acme'").get()
          ?.used === 4
      )
    } finally {
      database.close()
    }
  })
  await before.stop('SIGKILL')
  const again = await started(context, directory)
  assert.deepEqual(await statuses(again, 2, '/cheap', 'acme'), [200, 429])
})
