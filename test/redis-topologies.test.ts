import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { authority, needsOpenssl } from './support/certificates.ts'
import { passing, TestWorker, take } from './support/limit-worker.ts'
import { freePort, needsRedis, type RedisServer, startRedis, startSentinel } from './support/redis.ts'
import { until } from './support/until.ts'

const skip = (await needsRedis()) || (await needsOpenssl())

const TWENTY = { limit: 20, window: 3_600 }

describe('limits in other Redises than a single one', { skip }, () => {
  let folder: string
  const servers: RedisServer[] = []
  const workers: TestWorker[] = []

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'nyro-redis-'))
  })
  after(async () => {
    for (const { store } of workers) store.close()
    await Promise.all(servers.map(server => server.stop()))
    rmSync(folder, { recursive: true, force: true })
  })

  const server = async (more: readonly string[]): Promise<RedisServer> => {
    const started = await startRedis(undefined, ['--dir', folder, ...more])
    servers.push(started)
    return started
  }
  const workerOf = async (url: string, ca?: string): Promise<TestWorker> => {
    const worker = new TestWorker(url, ca === undefined ? {} : { ca })
    workers.push(worker)
    await until('Redis is up', () => worker.store.up)
    return worker
  }
  const ask = async (port: number, ...command: string[]): Promise<unknown> => {
    const client = new Redis(port, '127.0.0.1')
    try {
      return await client.call(...(command as [string, ...string[]]))
    } finally {
      client.disconnect()
    }
  }

  test('TLS, with an authority of its own', async () => {
    const trusted = await authority(folder, 'redis')
    const { cert, key } = await trusted.issue('IP:127.0.0.1')
    writeFileSync(join(folder, 'cert.pem'), cert)
    writeFileSync(join(folder, 'key.pem'), key)
    const port = await freePort()
    const files = [
      '--tls-cert-file',
      'cert.pem',
      '--tls-key-file',
      'key.pem',
      '--tls-ca-cert-file',
      trusted.file,
    ]
    await server(['--tls-port', String(port), ...files, '--tls-auth-clients', 'no'])
    const url = `rediss://127.0.0.1:${port}`
    const meters = [await workerOf(url, trusted.file), await workerOf(url, trusted.file)].map(each =>
      each.meter(TWENTY),
    )
    assert.equal(await passing(meters, 60), 20)
    const stranger = new TestWorker(url)
    workers.push(stranger)
    await until('an authority that is not trusted is no Redis', () => stranger.told.length > 0)
    assert.equal(stranger.store.up, false)
  })

  test('a cluster: each limit stands on one of its nodes', async () => {
    const nodes: { port: number; bus: string }[] = []
    for (const name of ['a', 'b', 'c']) {
      const bus = String(await freePort())
      const options = ['--cluster-enabled', 'yes', '--cluster-config-file', `${name}.conf`]
      const { port } = await server([...options, '--cluster-port', bus])
      nodes.push({ port, bus })
    }
    const thirds = [0, 5461, 10923, 16384]
    for (const [index, { port }] of nodes.entries()) {
      await ask(port, 'CLUSTER', 'ADDSLOTSRANGE', String(thirds[index]), String(thirds[index + 1]! - 1))
    }
    for (const { port, bus } of nodes.slice(1)) {
      await ask(nodes[0]!.port, 'CLUSTER', 'MEET', '127.0.0.1', String(port), bus)
    }
    await until('the cluster is whole', async () => {
      const states = await Promise.all(nodes.map(({ port }) => ask(port, 'CLUSTER', 'INFO')))
      return states.every(state => String(state).includes('cluster_state:ok'))
    })
    const url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
    const both = [await workerOf(url), await workerOf(url)]
    for (let count = 0; count < 8; count++) {
      const meters = both.map(each => each.meter({ ...TWENTY, name: `rule${count}` }))
      assert.equal(await passing(meters, 40), 20)
      const quotas = both.map(each => each.meter({ name: `quota${count}`, limit: 20, window: 'day' }))
      assert.equal(await passing(quotas, 40), 20)
    }
    assert.deepEqual(
      both.map(({ told }) => told),
      [[], []],
    )
    const sizes = await Promise.all(nodes.map(({ port }) => ask(port, 'DBSIZE')))
    assert.ok(
      sizes.every(size => Number(size) > 0),
      `${sizes}`,
    )
  })

  test('Sentinel: limits go on after a failover', async () => {
    const master = await server([])
    const replica = await server([
      '--replicaof',
      '127.0.0.1',
      String(master.port),
      '--repl-diskless-sync-delay',
      '0',
    ])
    await until('it is a replica', async () =>
      String(await ask(replica.port, 'INFO', 'replication')).includes('master_link_status:up'),
    )
    const file = join(folder, 'sentinel.conf')
    writeFileSync(
      file,
      [
        `sentinel monitor limits 127.0.0.1 ${master.port} 1`,
        'sentinel down-after-milliseconds limits 500',
        'sentinel failover-timeout limits 2000',
        '',
      ].join('\n'),
    )
    const sentinel = await startSentinel(file)
    servers.push(sentinel)
    await until('the sentinel knows the replica', async () =>
      String(await ask(sentinel.port, 'SENTINEL', 'REPLICAS', 'limits')).includes(String(replica.port)),
    )
    const worker = await workerOf(`redis+sentinel://127.0.0.1:${sentinel.port}/limits`)
    const meter = worker.meter({ limit: 100, window: 'day' })
    assert.equal(await passing([meter], 30), 30)
    await until('the replica has it', async () => Number(await ask(replica.port, 'DBSIZE')) > 0)
    await master.kill()
    await until('the link is down', () => !worker.store.up)
    assert.ok((await take(meter)) >= 0)
    await until('the link is up again', () => worker.store.up, 20_000)
    await until('all of it is counted', async () => {
      const [key] = (await ask(replica.port, 'KEYS', 'nyro:quota*}')) as string[]
      const [base, since] = (await ask(replica.port, 'HMGET', key!, 'base', 'since')) as string[]
      return Number(base) + Number(since) === 31
    })
    assert.equal(await passing([meter], 100), 69)
  })
})
