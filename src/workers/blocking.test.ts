import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { type Ruling, rulingOf } from '../store/block.ts'
import { FollowedBlocks } from './block-feed.ts'
import { Blocking, REMOVAL_MS } from './blocking.ts'

const FOREVER = Number.POSITIVE_INFINITY
const ANA = { userId: 'ana', companyId: 'acme', sessionId: 's1' }
const USER = { kind: 'user', id: 'ana' } as const

describe('blocking', () => {
  test('the same twice: the newer reason and time count', () => {
    const blocking = new Blocking()
    assert.equal(blocking.block(USER, 'first', FOREVER)?.isNew, true)
    const until = Date.now() + 60_000
    assert.equal(blocking.block(USER, 'second', until)?.isNew, false)
    assert.deepEqual(
      blocking.list().map(block => [block.id, block.reason, block.until]),
      [['ana', 'second', until]],
    )
    assert.equal(blocking.unblock(USER), true)
    assert.equal(blocking.unblock(USER), false)
    assert.deepEqual(blocking.list(), [])
  })

  test('has room for so many, until some are over or unblocked', () => {
    const blocking = new Blocking(2)
    const named = (id: string) => ({ kind: 'user', id }) as const
    assert.ok(blocking.block(named('a'), null, FOREVER))
    assert.ok(blocking.block(named('b'), null, FOREVER))
    assert.equal(blocking.block(named('c'), null, FOREVER), null)
    assert.equal(blocking.blocks.against({ ...ANA, userId: 'c' }), null)
    assert.ok(blocking.block(named('a'), 'again', FOREVER), 'it has its place')
    blocking.unblock(named('b'))
    assert.ok(blocking.block(named('c'), null, FOREVER))
  })

  test('lets go of what is over, and says so', t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000 })
    const blocking = new Blocking()
    const forgotten: string[] = []
    blocking.shareWith({ announce: () => {}, forget: all => forgotten.push(...all.map(({ id }) => id)) })
    blocking.block(USER, 'for a second', 2_000)
    blocking.block({ kind: 'user', id: 'bob' }, 'gone', FOREVER)
    blocking.unblock({ kind: 'user', id: 'bob' })
    t.mock.timers.setTime(3_000)
    assert.deepEqual(blocking.list(), [])
    blocking.prune()
    assert.equal(blocking.blocks.size, 0)
    assert.deepEqual(forgotten, ['ana'])
    t.mock.timers.setTime(3_000 + REMOVAL_MS)
    blocking.prune()
    assert.deepEqual(forgotten, ['ana', 'bob'])
  })
})

describe('what was said elsewhere', () => {
  const block = (at: number, reason = 'theirs'): Ruling =>
    rulingOf({ ...USER, reason, since: at, until: FOREVER })
  const removal = (at: number): Ruling => ({ ...USER, at, block: null })

  test('counts when it is later than what was said here, whatever the order', () => {
    const now = Date.now()
    const blocking = new Blocking()
    blocking.adopt([block(now + 10, 'late'), block(now, 'early')])
    assert.equal(blocking.list()[0]?.reason, 'late')
    blocking.adopt([removal(now + 5)])
    assert.equal(blocking.list().length, 1)
    blocking.adopt([removal(now + 20), block(now + 15)])
    assert.equal(blocking.list().length, 0)
  })

  test('is overruled by what is said here afterwards, though the clock there is ahead', () => {
    const blocking = new Blocking()
    const ahead = Date.now() + 3_600_000
    blocking.adopt([block(ahead)])
    assert.equal(blocking.unblock(USER), true)
    assert.equal([...blocking.entries()][0]?.at, ahead + 1)
    blocking.adopt([block(ahead)])
    assert.equal(blocking.list().length, 0)
    assert.ok(blocking.block(USER, 'mine', FOREVER)!.block.since > ahead + 1)
  })

  test('at the same moment: all end with the same', () => {
    const now = Date.now()
    const blocking = new Blocking()
    blocking.adopt([block(now, 'mine')])
    blocking.adopt([block(now, 'theirs')])
    assert.equal(blocking.list()[0]?.reason, 'theirs')
  })

  test('finds no room where there is none, and that is told', () => {
    const blocking = new Blocking(1)
    blocking.block({ kind: 'user', id: 'bob' }, null, FOREVER)
    assert.equal(blocking.adopt([block(Date.now())]), 1)
    assert.equal(blocking.list().length, 1)
  })
})

describe('a worker', () => {
  test('knows what was said before it started, and each word afterwards at once', () => {
    const blocking = new Blocking()
    blocking.block(USER, 'before', FOREVER)
    const followed = new FollowedBlocks(blocking.follow())
    assert.equal(followed.against(ANA)?.reason, 'before')
    const { version } = followed
    blocking.block(USER, 'after', FOREVER)
    assert.notEqual(followed.version, version)
    assert.equal(followed.against(ANA)?.reason, 'after')
    blocking.block({ kind: 'ip', id: '192.0.2.0/24' }, 'scan', FOREVER)
    assert.equal(followed.againstAddress('192.0.2.1')?.reason, 'scan')
    blocking.unblock(USER)
    assert.equal(followed.against(ANA), null)
  })

  test('in a thread of its own sees a block with the very next look', { timeout: 30_000 }, async () => {
    const blocking = new Blocking()
    const start = blocking.follow()
    const turns = new Int32Array(new SharedArrayBuffer(8))
    // Its loop never turns: only a look into the port itself can bring the news.
    const worker = new Worker(
      `import { workerData, parentPort } from 'node:worker_threads'
       const { FollowedBlocks } = await import(workerData.module)
       const followed = new FollowedBlocks(workerData.start)
       const turns = new Int32Array(workerData.turns)
       const holder = ${JSON.stringify(ANA)}
       const seen = []
       for (let round = 1; round <= 200; round++) {
         Atomics.wait(turns, 0, round - 1)
         seen.push(followed.against(holder)?.reason ?? null)
         Atomics.store(turns, 1, round)
         Atomics.notify(turns, 1)
       }
       parentPort.postMessage(seen)`,
      {
        eval: true,
        execArgv: ['--input-type=module'],
        workerData: {
          start,
          turns: turns.buffer,
          module: new URL('./block-feed.ts', import.meta.url).href,
        },
        transferList: [start.port],
      },
    )
    const answered = once(worker, 'message')
    const expected: (string | null)[] = []
    for (let round = 1; round <= 200; round++) {
      if (round % 3 === 0) blocking.unblock(USER)
      else blocking.block(USER, `round ${round}`, FOREVER)
      expected.push(round % 3 === 0 ? null : `round ${round}`)
      Atomics.store(turns, 0, round)
      Atomics.notify(turns, 0)
      while (Atomics.load(turns, 1) !== round) {
        const waited = Atomics.waitAsync(turns, 1, round - 1, 10_000)
        if (waited.async) assert.notEqual(await waited.value, 'timed-out')
      }
    }
    assert.deepEqual((await answered)[0], expected)
    await worker.terminate()
  })
})
