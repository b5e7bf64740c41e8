import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Account } from './account.ts'
import { createRing, RingReader, RingWriter } from './ring.ts'
import { RingSink } from './ring-sink.ts'
import type { RingTask } from './ring-thread.ts'
import { Totals } from './totals.ts'

const DAY = '2026-11-27'
const accountOf = (company: string, route = 'r'): Account => new Account(DAY, company, route)

/** Counts one request and what tells it from others. */
const push = (ring: RingWriter, account: Account, bytes = 0): boolean =>
  ring.push(account, 1, 0, 0, bytes, 0, 1, 0)

function drained(reader: RingReader): Record<string, [number, number]> {
  const totals = new Totals()
  reader.drain(totals)
  const rows = totals.take(Number.POSITIVE_INFINITY)
  return Object.fromEntries(
    rows.map(({ account, requests, bytesIn }) => [
      `${account.company}/${account.route}`,
      [requests, bytesIn],
    ]),
  )
}

describe('a ring', () => {
  test('hands on what was counted, once, under the names that it was counted under', () => {
    const buffer = createRing(16)
    const writer = new RingWriter(buffer)
    const reader = new RingReader(buffer)
    const [a, b] = [accountOf('ácme, "Inc"\n', 'Ω'.repeat(60)), accountOf('')]
    for (const [account, bytes] of [
      [a, 5],
      [b, 7],
      [a, 11],
    ] as const)
      assert.ok(push(writer, account, bytes))
    assert.deepEqual(drained(reader), { [`${a.company}/${a.route}`]: [2, 16], '/r': [1, 7] })
    assert.deepEqual(drained(reader), {})
  })

  test('hands on every sum as it is', () => {
    const buffer = createRing(16)
    const sums = [3, 2, 1, 2 ** 40 + 1, 2 ** 50 + 1, 0.1, 1e-9] as const
    assert.ok(new RingWriter(buffer).push(accountOf('a'), ...sums))
    const totals = new Totals()
    new RingReader(buffer).drain(totals)
    const [{ account, ...row }] = totals.take(1) as [ReturnType<Totals['take']>[0]]
    assert.deepEqual([account.day, Object.values(row)], [DAY, [...sums]])
  })

  test('goes round many times, announcements across its end included', () => {
    const buffer = createRing(16)
    const writer = new RingWriter(buffer)
    const reader = new RingReader(buffer)
    for (let round = 0; round < 100; round++) {
      const account = accountOf(`company ${round}`, 'x'.repeat(round % 90))
      assert.ok(push(writer, account, round))
      assert.ok(push(writer, account, round))
      assert.deepEqual(drained(reader), { [`${account.company}/${account.route}`]: [2, 2 * round] })
    }
  })

  test('that is full says so, and takes the same again once it was read', () => {
    const buffer = createRing(8)
    const writer = new RingWriter(buffer)
    const reader = new RingReader(buffer)
    const account = accountOf('a')
    let taken = 0
    while (push(writer, account, 1)) taken++
    assert.equal(taken, 6, 'an announcement of two records, and six')
    assert.equal(push(writer, accountOf('b')), false)
    assert.deepEqual(drained(reader), { 'a/r': [6, 6] })
    assert.ok(push(writer, accountOf('b'), 3))
    assert.ok(push(writer, account, 4))
    assert.deepEqual(drained(reader), { 'b/r': [1, 3], 'a/r': [1, 4] })
  })

  test('goes on under the worker that comes after the one that died', () => {
    const buffer = createRing(32)
    const reader = new RingReader(buffer)
    const first = new RingWriter(buffer)
    for (const name of ['a', 'b', 'c']) push(first, accountOf(name), 1)
    const second = new RingWriter(buffer)
    for (const name of ['c', 'd']) push(second, accountOf(name), 10)
    assert.deepEqual(drained(reader), { 'a/r': [1, 1], 'b/r': [1, 1], 'c/r': [2, 11], 'd/r': [1, 10] })
  })

  test('numbers its accounts anew when there have been very many', () => {
    const buffer = createRing(64)
    const writer = new RingWriter(buffer)
    const reader = new RingReader(buffer)
    const kept = accountOf('kept')
    const totals = new Totals()
    for (let index = 0; index < 70_000; index++) {
      assert.ok(push(writer, accountOf(String(index))))
      if (index % 1_000 === 0) assert.ok(push(writer, kept, 1))
      if (index % 10 === 0) reader.drain(totals)
    }
    reader.drain(totals)
    assert.equal(totals.size, 70_001)
    assert.equal(totals.requests, 70_070)
    const row = totals.take(Number.POSITIVE_INFINITY).find(({ account }) => account.company === 'kept')
    assert.equal(row?.bytesIn, 70)
  })

  test('refuses the memory of something else', () => {
    assert.throws(() => new RingReader(new SharedArrayBuffer(1024)), /not a buffer of usage ring/)
    assert.throws(() => createRing(12), RangeError)
  })
})

describe('a sink in front of a ring', () => {
  test('sums up what finds no room, and hands it over when there is some', async () => {
    const buffer = createRing(8)
    const sink = new RingSink(buffer)
    const reader = new RingReader(buffer)
    const [a, b] = [accountOf('a'), accountOf('b')]
    for (let index = 0; index < 1_000; index++) sink.add(index % 2 === 0 ? a : b, 1, 0, 0, 1, 0, 0, 0)
    const before = drained(reader)
    sink.retry()
    const after = drained(reader)
    assert.equal((before['a/r']?.[0] ?? 0) + (after['a/r']?.[0] ?? 0), 500)
    assert.equal((before['b/r']?.[0] ?? 0) + (after['b/r']?.[0] ?? 0), 500)
    await sink.finish()
    assert.deepEqual(drained(reader), {})
  })
})

describe('a real worker', () => {
  const ACCOUNTS = 40

  async function counted(task: RingTask, until: (totals: Totals, ended: boolean) => boolean, worker: Worker) {
    const reader = new RingReader(task.ring)
    const totals = new Totals()
    let ended = false
    const exit = once(worker, 'exit').then(() => {
      ended = true
    })
    while (!until(totals, ended)) {
      reader.drain(totals)
      await nextTurn()
    }
    await worker.terminate()
    await exit
    // What it had published stays when it is gone
    reader.drain(totals)
    return totals
  }

  const start = (task: RingTask): Worker =>
    new Worker(new URL('./ring-thread.ts', import.meta.url), { workerData: task })

  for (const records of [16, 1024]) {
    test(`that counts into ${records} records while they are read loses nothing`, async () => {
      const task = { ring: createRing(records), requests: 300_000, accounts: ACCOUNTS }
      const totals = await counted(task, (_, ended) => ended, start(task))
      assert.equal(totals.size, ACCOUNTS)
      assert.equal(totals.requests, task.requests)
      const sum = (task.requests * (task.requests - 1)) / 2
      const rows = totals.take(ACCOUNTS)
      assert.equal(
        rows.reduce((all, row) => all + row.bytesIn, 0),
        sum,
      )
      assert.equal(
        rows.reduce((all, row) => all + row.bytesOut, 0),
        2 * sum,
      )
      assert.ok(rows.every(({ requests }) => requests === task.requests / ACCOUNTS))
    })
  }

  test('that is ended in the middle leaves whole records', async () => {
    const task = { ring: createRing(1024), requests: 1e9, accounts: ACCOUNTS }
    const totals = await counted(task, (seen, ended) => ended || seen.requests > 50_000, start(task))
    const rows = totals.take(ACCOUNTS)
    assert.ok(rows.length === ACCOUNTS)
    for (const { requests, bytesIn, bytesOut, cost, upstreamSeconds } of rows) {
      assert.equal(bytesOut, 2 * bytesIn)
      assert.deepEqual([cost, upstreamSeconds], [requests / 2, requests / 4])
    }
  })
})
