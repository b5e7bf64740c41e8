/** Several workers: each with its own listener, all together one gateway for clients and operators. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { runCommand, startGateway } from './support/gateway.ts'
import { httpUpstream } from './support/http-upstream.ts'
import { keyServer, signingKey } from './support/jwks.ts'
import { until } from './support/until.ts'
import { answerWith, OK, recordingUpstream } from './support/upstream.ts'
import { placedConnections, startWorkers, type WorkersGateway, workersOf } from './support/workers.ts'

describe('two workers', () => {
  let gateway: WorkersGateway

  before(async () => {
    gateway = await startWorkers()
  })
  after(() => gateway?.stop())

  test('say so in one line', () => {
    const lines = gateway.log.filter(({ event }) => event === 'Gateway listening')
    assert.deepEqual(
      lines.map(({ workers }) => workers),
      [2],
    )
  })

  test('share the port, and what each of them does is on the admin port', async () => {
    const placed = await placedConnections(gateway.port, 3)
    const open = [...placed.values()].map(each => each.length)
    assert.ok(!placed.has('0'), 'the main thread serves no requests')
    const rows = await until('all are counted', async () => {
      const rows = await gateway.workers()
      const [a, b] = rows.map(({ connections }) => connections)
      return ((a === open[0] && b === open[1]) || (a === open[1] && b === open[0])) && rows
    })
    for (const [id, row] of rows.entries()) {
      assert.deepEqual(
        { id: row.id, state: row.state, restarts: row.restarts },
        { id, state: 'ready', restarts: 0 },
      )
      assert.equal(row.requests, row.connections, 'each connection asked once')
      assert.ok(row.uptime > 0)
    }
    for (const { connection } of [...placed.values()].flat()) connection.leave()
    await until('they are gone', async () => (await gateway.workers()).every(row => row.connections === 0))
  })

  test('a fault that escapes its exchange is logged, and its worker goes on', async () => {
    await send(`${gateway.url}/fault`)
    const record = await gateway.logged(({ event }) => event === 'Uncaught exception')
    assert.equal(record.error, 'escaped')
    assert.deepEqual(
      (await gateway.workers()).map(({ restarts }) => restarts),
      [0, 0],
    )
  })
})

test('one worker has no thread, and is listed all the same', async () => {
  const gateway = await startWorkers({ GATEWAY_WORKERS: '1' })
  try {
    assert.equal((await send(`${gateway.url}/who`)).text, '0')
    const [row, ...others] = await workersOf(gateway)
    assert.equal(others.length, 0)
    assert.equal(row?.state, 'ready')
    assert.equal(row.requests, 1)
    assert.equal(gateway.log.find(({ event }) => event === 'Gateway listening')?.workers, 1)
  } finally {
    assert.equal(await gateway.stop(), 0)
  }
})

test('a port in use is an error, even when its listeners would share it', async () => {
  const gateway = await startWorkers()
  try {
    const { code, stdout, stderr } = await runCommand(['start'], {
      env: { PORT: String(gateway.port), GATEWAY_WORKERS: '2' },
    })
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`127.0.0.1:${gateway.port} is in use: stop what listens there`))
    assert.doesNotMatch(stdout, /listening/)
  } finally {
    await gateway.stop()
  }
})

for (const workers of ['0', '65', 'many', '1.5', '-1']) {
  test(`${workers} workers are refused`, async () => {
    const { code, stderr } = await runCommand(['start'], { env: { GATEWAY_WORKERS: workers } })
    assert.equal(code, 78)
    assert.match(stderr, /GATEWAY_WORKERS must be /)
  })
}

test('a wrong configuration is told once', async () => {
  const { code, stderr, stdout } = await runCommand(['start'], {
    env: { GATEWAY_WORKERS: '2', GATEWAY_LOG_LEVEL: 'loud' },
  })
  assert.equal(code, 78)
  assert.equal(stderr.match(/GATEWAY_LOG_LEVEL/g)?.length, 1)
  assert.equal(stdout, '')
})

test('log lines stay whole while both write', async () => {
  const upstream = await recordingUpstream(answerWith(OK))
  const gateway = await startGateway({
    env: { GATEWAY_WORKERS: '2', GATEWAY_AUTH_SERVICE_URL: upstream.url },
  })
  try {
    // Lines longer than a pipe takes in one piece
    const long = 'x'.repeat(6_000)
    const paths = Array.from({ length: 400 }, (_, index) => `/api/v1/auth/${index}-${long}`)
    const lanes = Array.from({ length: 8 }, async (_, lane) => {
      for (let index = lane; index < paths.length; index += 8) {
        assert.equal((await send(gateway.url + paths[index])).status, 200)
      }
    })
    await Promise.all(lanes)
  } finally {
    await gateway.stop()
    await upstream.close()
  }
  assert.deepEqual(
    gateway.log.filter(record => 'raw' in record),
    [],
  )
  const numbers = gateway.log
    .filter(({ event }) => event === 'Request processed')
    .map(({ path }) => Number(/auth\/(\d+)-x{6000}$/.exec(String(path))?.[1]))
  assert.deepEqual(
    numbers.sort((a, b) => a - b),
    Array.from({ length: 400 }, (_, index) => index),
  )
})

test('keys are fetched once for all workers, and changed in all of them', async () => {
  const [first, second] = await Promise.all([signingKey('ES256', 'first'), signingKey('ES256', 'second')])
  const keys = await keyServer([first.publicJwk])
  const gateway = await startConfigured(
    {
      server: { workers: 4 },
      identity: { jwks: { url: keys.url, cooldown: 0.2 } },
      routes: [{ path: '/mine', respond: { body: 'mine' } }],
    },
    { GATEWAY_WORKERS: undefined },
  )
  const statuses = async (token: string): Promise<Set<number>> => {
    const headers = bearer(token)
    const answers = Array.from(
      { length: 40 },
      async () => (await send(`${gateway.url}/mine`, { headers })).status,
    )
    return new Set(await Promise.all(answers))
  }
  try {
    await until('ready', async () => (await send(`${gateway.url}/ready`)).status === 200)
    assert.equal(keys.fetches(), 1)
    assert.deepEqual(await statuses(await first.sign()), new Set([200]))
    keys.keys = [second.publicJwk]
    const token = await second.sign()
    await until(
      'the new key is known',
      async () => (await send(`${gateway.url}/mine`, { headers: bearer(token) })).status === 200,
    )
    const fetches = keys.fetches()
    assert.deepEqual(await statuses(token), new Set([200]), 'every worker has the new set')
    assert.equal(keys.fetches(), fetches, 'without a fetch of its own')
    assert.deepEqual(await statuses(await first.sign()), new Set([401]), 'and none the old one')
    assert.equal(gateway.log.filter(({ event }) => event === 'JWKS fetched').length, 2)
  } finally {
    assert.equal(await gateway.stop(), 0)
    await keys.close()
  }
})

test('bounds of the configuration hold for all workers together', async () => {
  let underWay = 0
  let most = 0
  const upstream = await httpUpstream(({ response }) => {
    most = Math.max(most, ++underWay)
    setTimeout(() => {
      underWay--
      response.end('done')
    }, 20)
  })
  const gateway = await startConfigured(
    {
      server: { workers: 2 },
      client: { maxConnections: 4 },
      routes: [{ path: '/slow', auth: 'none', upstream: upstream.url }],
    },
    { GATEWAY_WORKERS: undefined },
  )
  try {
    const answers = await Promise.all(Array.from({ length: 40 }, () => send(`${gateway.url}/slow`)))
    assert.deepEqual(new Set(answers.map(({ text }) => text)), new Set(['done']))
    assert.equal(most, 4)
  } finally {
    assert.equal(await gateway.stop(), 0)
    await upstream.close()
  }
})
