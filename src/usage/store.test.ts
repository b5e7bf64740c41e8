/** What both stores promise, held against a real file and a real Redis. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { needsRedis, type RedisServer, startRedis } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { redisSchema } from '../config/redis.ts'
import { RedisLink } from '../redis/link.ts'
import { Account, SUMS } from './account.ts'
import { RedisStore } from './redis-store.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { UsageBatch, UsageQuery, UsageStore } from './store.ts'
import type { TotalRow } from './totals.ts'

const rowOf = (day: string, company: string, route: string, factor = 1): TotalRow => ({
  account: new Account(day, company, route),
  requests: factor,
  errors: 0,
  refused: factor,
  bytesIn: 2 ** 33 * factor,
  bytesOut: 3 * factor,
  cost: 0.5 * factor,
  upstreamSeconds: 0.000001 * factor,
})

let sequence = 0
const batchOf = (...rows: TotalRow[]): UsageBatch => ({ instance: 'one', sequence: ++sequence, rows })

const ALL: UsageQuery = {
  from: '2026-11-01',
  to: '2026-11-30',
  company: null,
  route: null,
  by: ['day', 'company', 'route'],
}

/** Rows as `dimensions: requests`, and that the other sums are in proportion to them. */
async function read(store: UsageStore, query: Partial<UsageQuery> = {}): Promise<string[]> {
  const rows = await store.read({ ...ALL, ...query })
  return rows.map(row => {
    const sums = SUMS.map(name => row[name])
    const expected = rowOf('', '', '', row.requests)
    const near = (actual: number, wanted: number) => Math.abs(actual - wanted) <= 1e-9 * Math.max(1, wanted)
    assert.ok(
      SUMS.every((name, index) => near(sums[index]!, expected[name])),
      JSON.stringify(row),
    )
    return `${[row.day, row.company, row.route].filter(name => name !== undefined).join('|')}: ${row.requests}`
  })
}

async function linkTo(context: TestContext, redis: RedisServer): Promise<RedisLink> {
  const link = new RedisLink(redisSchema.parse({ url: redis.url, timeout: 2 }), {
    onDown() {},
    onUp() {},
  })
  context.after(() => link.close())
  await until('the link is up', () => link.up)
  return link
}

function fileIn(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'nyro-usage-'))
  context.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'usage.db')
}

const skip = await needsRedis()
const stores = {
  SQLite: {
    skip: false,
    async open(context: TestContext): Promise<UsageStore> {
      const store = await SqliteStore.open(fileIn(context), 400)
      context.after(() => store.close())
      return store
    },
  },
  Redis: {
    skip,
    async open(context: TestContext): Promise<UsageStore> {
      const redis = await startRedis()
      context.after(() => redis.stop())
      return new RedisStore(await linkTo(context, redis), 400)
    },
  },
}

for (const [name, { skip, open }] of Object.entries(stores)) {
  describe(`usage in ${name}`, { skip }, () => {
    test('adds up, and tells apart what was counted apart', async context => {
      const store = await open(context)
      await store.add(batchOf(rowOf('2026-11-27', 'acme', 'a', 3), rowOf('2026-11-27', 'acme', 'b')))
      await store.add(batchOf(rowOf('2026-11-27', 'acme', 'a', 4), rowOf('2026-11-28', '', '')))
      assert.deepEqual(await read(store), ['2026-11-27|acme|a: 7', '2026-11-27|acme|b: 1', '2026-11-28||: 1'])
    })

    test('names may hold anything', async context => {
      const store = await open(context)
      const names = ['a:b', 'requests:a', '{usage}', "'; DROP TABLE usage; --", '__proto__', '日本', 'a b']
      await store.add(batchOf(...names.map(each => rowOf('2026-11-27', each, each, 2))))
      for (const each of names)
        assert.deepEqual(await read(store, { company: each }), [`2026-11-27|${each}|${each}: 2`])
      assert.equal((await read(store)).length, names.length)
    })

    test('answers for days, companies and routes, and sums up the rest', async context => {
      const store = await open(context)
      const days = ['2026-10-31', '2026-11-01', '2026-11-15', '2026-11-30', '2026-12-01']
      const rows = days.flatMap(day =>
        ['acme', 'beta'].flatMap(company => ['a', 'b'].map(route => rowOf(day, company, route))),
      )
      await store.add(batchOf(...rows))
      assert.deepEqual(await read(store, { by: ['day'] }), [
        '2026-11-01: 4',
        '2026-11-15: 4',
        '2026-11-30: 4',
      ])
      assert.deepEqual(await read(store, { by: ['company'], route: 'a' }), ['acme: 3', 'beta: 3'])
      assert.deepEqual(await read(store, { by: ['route'], company: 'beta' }), ['a: 3', 'b: 3'])
      assert.deepEqual(await read(store, { by: ['route', 'day'], company: 'beta', from: '2026-11-30' }), [
        '2026-11-30|a: 1',
        '2026-11-30|b: 1',
      ])
      assert.deepEqual(await read(store, { company: 'nobody' }), [])
      assert.deepEqual(await read(store, { from: '2020-01-01', to: '2020-01-02' }), [])
    })
  })
}

describe('usage in SQLite', () => {
  test('is still there when the file is opened again, and can be read while it is written', async context => {
    const file = fileIn(context)
    const first = await SqliteStore.open(file, 400)
    await first.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    const reader = await SqliteStore.openToRead(file)
    assert.deepEqual(await read(reader), ['2026-11-27|acme|a: 1'])
    await first.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    assert.deepEqual(await read(reader), ['2026-11-27|acme|a: 2'])
    await assert.rejects(reader.add(batchOf(rowOf('2026-11-27', 'acme', 'a'))), /readonly/)
    first.close()
    reader.close()
    const again = await SqliteStore.open(file, 400)
    context.after(() => again.close())
    await again.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    assert.deepEqual(await read(again), ['2026-11-27|acme|a: 3'])
  })

  test('drops the days that are too old', async context => {
    const store = await SqliteStore.open(fileIn(context), 3)
    context.after(() => store.close())
    await store.add(batchOf(...['24', '25', '26', '27'].map(day => rowOf(`2026-11-${day}`, 'acme', 'a'))))
    const days = async () => (await store.read(ALL)).map(({ day }) => day!.slice(-2)).join()
    assert.equal(await days(), '25,26,27')
    await store.add(batchOf(rowOf('2026-11-28', 'acme', 'a')))
    assert.equal(await days(), '26,27,28')
  })

  test('a batch that fails in the middle leaves nothing', async context => {
    const store = await SqliteStore.open(fileIn(context), 400)
    context.after(() => store.close())
    const bad = { ...rowOf('2026-11-27', 'acme', 'b'), cost: Number.NaN }
    await assert.rejects(store.add(batchOf(rowOf('2026-11-27', 'acme', 'a'), bad)), /NOT NULL/)
    assert.deepEqual(await read(store), [])
    await store.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    assert.deepEqual(await read(store), ['2026-11-27|acme|a: 1'])
  })

  test('two gateways with one file give the sum', async context => {
    const file = fileIn(context)
    const both = [await SqliteStore.open(file, 400), await SqliteStore.open(file, 400)]
    context.after(() => {
      for (const store of both) store.close()
    })
    for (let round = 0; round < 20; round++)
      for (const store of both) await store.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    assert.deepEqual(await read(both[0]!), ['2026-11-27|acme|a: 40'])
  })

  test('keeps quotas beside it', async context => {
    const file = fileIn(context)
    const store = await SqliteStore.open(file, 400)
    const quotas = (period: string) => Object.fromEntries(store.quotas.loadQuotas(period))
    store.quotas.saveQuotas([
      { key: 'acme|daily', period: '2026-11-27', used: 5 },
      { key: 'acme|monthly', period: '2026-11', used: 2 ** 40 },
    ])
    store.quotas.saveQuotas([
      { key: 'acme|daily', period: '2026-11-27', used: 8 },
      { key: 'acme|monthly', period: '2026-11', used: 7.5 },
      { key: 'beta|daily', period: '2026-11-27', used: 1 },
      { key: 'acme|daily', period: '2026-11-28', used: 1 },
    ])
    assert.deepEqual(quotas('2026-11-27'), { 'acme|daily': 8, 'beta|daily': 1 })
    assert.deepEqual(quotas('2026-11'), { 'acme|monthly': 7.5 })
    store.quotas.pruneQuotas('2026-11-28')
    assert.deepEqual(quotas('2026-11-27'), {})
    store.close()
    const again = await SqliteStore.open(file, 400)
    context.after(() => again.close())
    assert.deepEqual(Object.fromEntries(again.quotas.loadQuotas('2026-11')), { 'acme|monthly': 7.5 })
    assert.deepEqual(Object.fromEntries(again.quotas.loadQuotas('2026-11-28')), { 'acme|daily': 1 })
  })
})

describe('usage in Redis', { skip }, () => {
  async function opened(context: TestContext) {
    const redis = await startRedis()
    context.after(() => redis.stop())
    const link = await linkTo(context, redis)
    return { link, store: new RedisStore(link, 2) }
  }

  test('a batch that is sent again counts once, also behind others of other gateways', async context => {
    const { store } = await opened(context)
    const batch = batchOf(rowOf('2026-11-27', 'acme', 'a', 5))
    await store.add(batch)
    await store.add({ ...batchOf(rowOf('2026-11-27', 'acme', 'a')), instance: 'another' })
    await store.add(batch)
    await store.add(batch)
    assert.deepEqual(await read(store), ['2026-11-27|acme|a: 6'])
    await store.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    assert.deepEqual(await read(store), ['2026-11-27|acme|a: 7'])
  })

  test('keys are of one slot of a cluster, and expire', async context => {
    const { store, link } = await opened(context)
    await store.add(batchOf(rowOf('2026-11-27', 'acme', 'a')))
    const keys = (await link.client.keys('*')).sort()
    assert.deepEqual(keys, [
      'nyro:{usage}:2026-11-27',
      'nyro:{usage}:2026-11-27:acme',
      'nyro:{usage}:batch:one',
    ])
    for (const key of keys) {
      const left = await link.client.ttl(key)
      assert.ok(left > 86_400 && left <= 2 * 86_400, `${key}: ${left}`)
    }
  })
})
