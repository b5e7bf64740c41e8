import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { freePort, needsRedis, startRedis } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { redisSchema } from '../config/redis.ts'
import { RedisLink } from '../redis/link.ts'
import { Account } from './account.ts'
import { UsageLedger } from './ledger.ts'
import { RedisStore } from './redis-store.ts'
import { createRing, RingReader } from './ring.ts'
import { RingSink } from './ring-sink.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { UsageQuery, UsageStore } from './store.ts'
import { Unsent } from './unsent.ts'

const DAY = '2026-11-27'
const QUERY: UsageQuery = { from: DAY, to: DAY, company: null, route: null, by: ['company'] }
const skip = await needsRedis()

/** A ledger that writes when it is told to. */
function ledgerOver(
  store: UsageStore,
  rings: RingReader[] = [],
  flush = 3_600,
  unsent: Unsent | null = null,
) {
  const told: string[] = []
  const ledger = new UsageLedger({
    store,
    timeZone: 'UTC',
    rings,
    flush,
    unsent,
    logger: {
      error: (...said: unknown[]) => void told.push(String(said[1])),
      warn: (...said: unknown[]) => void told.push(String(said[1])),
      info: (said: unknown) => void told.push(String(said)),
    },
  })
  return { ledger, told }
}

async function sqlite(context: TestContext): Promise<SqliteStore> {
  const folder = mkdtempSync(join(tmpdir(), 'nyro-usage-'))
  context.after(() => rmSync(folder, { recursive: true }))
  return SqliteStore.open(join(folder, 'usage.db'), 400)
}

const count = (ledger: UsageLedger, company: string): void =>
  ledger.totals.add(new Account(DAY, company, 'r'), 1, 0, 0, 0, 0, 1, 0)

async function requests(ledger: UsageLedger): Promise<Record<string, number>> {
  const rows = await ledger.read(QUERY)
  return Object.fromEntries(rows.map(row => [row.company, row.requests]))
}

test('what was counted here and in workers is written at a flush, once', async context => {
  const store = await sqlite(context)
  const buffers = [createRing(64), createRing(64)]
  const { ledger } = ledgerOver(
    store,
    buffers.map(buffer => new RingReader(buffer)),
  )
  context.after(() => ledger.close())
  count(ledger, 'a')
  for (const buffer of buffers) new RingSink(buffer).add(new Account(DAY, 'a', 'r'), 1, 0, 0, 0, 0, 1, 0)
  assert.equal(await ledger.flush(), true)
  assert.equal(await ledger.flush(), true)
  assert.deepEqual(await requests(ledger), { a: 3 })
})

test('thousands of accounts are written in pieces, all of them', async context => {
  const { ledger } = ledgerOver(await sqlite(context))
  context.after(() => ledger.close())
  for (let company = 0; company < 3_000; company++) count(ledger, `company-${company}`)
  await ledger.flush()
  const found = await requests(ledger)
  assert.equal(Object.keys(found).length, 3_000)
  assert.ok(Object.values(found).every(each => each === 1))
})

test('it is written by itself, at intervals', async context => {
  const { ledger } = ledgerOver(await sqlite(context), [], 0.01)
  context.after(() => ledger.close())
  count(ledger, 'a')
  await until('it is written', async () => (await requests(ledger)).a === 1)
})

test('a store that fails is told of once, and gets everything when it is well again', async context => {
  const real = await sqlite(context)
  let failing = true
  const store: UsageStore = {
    add: batch => (failing ? Promise.reject(new Error('disk full')) : real.add(batch)),
    read: query => real.read(query),
    close: () => real.close(),
  }
  const { ledger, told } = ledgerOver(store)
  context.after(() => ledger.close())
  for (let round = 0; round < 5; round++) {
    count(ledger, 'a')
    count(ledger, `b${round}`)
    assert.equal(await ledger.flush(), false)
  }
  assert.deepEqual(told, ['Usage cannot be written: it is kept and tried again'])
  assert.deepEqual(await requests(ledger), {})
  failing = false
  assert.equal(await ledger.flush(), true)
  assert.deepEqual(await requests(ledger), { a: 5, b0: 1, b1: 1, b2: 1, b3: 1, b4: 1 })
  assert.equal(told.length, 2)
})

test('the end writes what is left, and says how much is lost where that is not possible', async context => {
  const store = await sqlite(context)
  const { ledger } = ledgerOver(store)
  count(ledger, 'a')
  await Promise.all([ledger.close(), ledger.close()])
  await assert.rejects(store.read(QUERY), /not open/)
  const lost = ledgerOver({
    add: () => Promise.reject(new Error('away')),
    read: async () => [],
    close() {},
  })
  count(lost.ledger, 'a')
  await lost.ledger.close()
  assert.equal(lost.told.at(-1), 'Usage is lost: it could not be written')
})

test('Redis that is away gets what was counted meanwhile when it is back', { skip }, async context => {
  const port = await freePort()
  const link = new RedisLink(redisSchema.parse({ url: `redis://127.0.0.1:${port}`, timeout: 1 }), {
    onDown() {},
    onUp() {},
  })
  context.after(() => link.close())
  const { ledger, told } = ledgerOver(new RedisStore(link, 400))
  context.after(() => ledger.close())
  count(ledger, 'a')
  assert.equal(await ledger.flush(), false)
  count(ledger, 'a')
  let redis = await startRedis(port)
  context.after(() => redis.stop())
  await until('it is written', () => ledger.flush())
  assert.deepEqual(await requests(ledger), { a: 2 })
  // It starts again without what it had: what is in hand comes on top
  await redis.kill()
  count(ledger, 'a')
  assert.equal(await ledger.flush(), false)
  redis = await startRedis(port)
  await until('it is written', () => ledger.flush())
  assert.deepEqual(await requests(ledger), { a: 1 })
  assert.equal(told.length, 4)
})

test('a batch whose answer was lost on the way is counted once', { skip }, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const link = new RedisLink(redisSchema.parse({ url: redis.url, timeout: 0.1 }), { onDown() {}, onUp() {} })
  context.after(() => link.close())
  await until('the link is up', () => link.up)
  const { ledger } = ledgerOver(new RedisStore(link, 400))
  context.after(() => ledger.close())
  count(ledger, 'a')
  // It has the batch in its socket and takes it up when it wakes, long after nobody waits for the answer
  redis.pause()
  assert.equal(await ledger.flush(), false)
  count(ledger, 'a')
  redis.resume()
  await until('it is written', () => ledger.flush())
  assert.deepEqual(await requests(ledger), { a: 2 })
})

test('what Redis does not take before the end is handed over at the next start, once', {
  skip,
}, async context => {
  const folder = mkdtempSync(join(tmpdir(), 'nyro-unsent-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const delivered: number[] = []
  const unreadable: string[] = []
  const unsent = new Unsent(join(folder, 'unsent.json'), {
    onDelivered: requests => void delivered.push(requests),
    onUnreadable: file => void unreadable.push(file),
  })
  const redis = await startRedis()
  context.after(() => redis.stop())
  const linked = async (): Promise<RedisLink> => {
    const config = redisSchema.parse({ url: redis.url, timeout: 0.1 })
    const link = new RedisLink(config, { onDown() {}, onUp() {} })
    context.after(() => link.close())
    await until('the link is up', () => link.up)
    return link
  }
  const first = ledgerOver(new RedisStore(await linked(), 400), [], 3_600, unsent)
  count(first.ledger, '__proto__')
  await first.ledger.flush()
  // It takes this one when it wakes, though nobody hears of it
  redis.pause()
  count(first.ledger, 'acme')
  assert.equal(await first.ledger.flush(), false)
  for (let company = 0; company < 300; company++) count(first.ledger, `company ${company}`)
  await first.ledger.close()
  assert.equal(first.told.at(-1), 'Usage is kept for the next start: it could not be written')
  const [kept] = readdirSync(folder)
  assert.match(kept!, /^unsent\.[-0-9a-f]{36}\.json$/)
  const text = readFileSync(join(folder, kept!))
  redis.resume()

  const second = ledgerOver(new RedisStore(await linked(), 400), [], 3_600, unsent)
  context.after(() => second.ledger.close())
  await until('it is written', () => second.ledger.flush())
  assert.deepEqual([delivered, readdirSync(folder)], [[301], []])
  // As if another had found it too
  writeFileSync(join(folder, kept!), text)
  writeFileSync(join(folder, 'unsent.broken.json'), '[{"instance":"x"')
  const third = ledgerOver(new RedisStore(await linked(), 400), [], 3_600, unsent)
  context.after(() => third.ledger.close())
  assert.equal(await third.ledger.flush(), true)
  assert.deepEqual(unreadable, [join(folder, 'unsent.broken.json')])
  const sums = await requests(third.ledger)
  assert.equal(Object.keys(sums).length, 302)
  assert.ok(Object.values(sums).every(each => each === 1))
})
