import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { NONE, Slots } from './slots.ts'

describe('the slots of an upstream', () => {
  test('are as many as the limit, for all threads together', () => {
    const one = Slots.create(2)
    const other = Slots.attach(one.buffer)
    one.limit = 3
    assert.deepEqual([one.take(0), other.take(1), one.take(0), other.take(1)], [1, 2, 3, 0])
    one.give(0)
    assert.equal(other.take(1), 3)
    one.limit = 5
    assert.equal(other.free, 2)
  })

  test('are never more than the limit, and none is lost, with threads that take and give at once', async () => {
    const slots = Slots.create(3)
    slots.limit = 2
    const results = new SharedArrayBuffer(8)
    const threads = Array.from(
      { length: 3 },
      (_, worker) =>
        new Promise<void>((resolve, reject) => {
          const thread = new Worker(new URL('./slots-stress-thread.ts', import.meta.url), {
            workerData: { buffer: slots.buffer, results, worker },
          })
          thread.on('error', reject)
          thread.on('exit', () => resolve())
        }),
    )
    await Promise.all(threads)
    const [taken, exceeded] = new Int32Array(results)
    assert.ok(taken! > 1000, `taken ${taken}`)
    assert.equal(exceeded, 0)
    assert.equal(slots.view.inUse, 0)
  })

  test('that a thread had are free when it is gone, with its places in the queue', () => {
    const slots = Slots.create(2)
    slots.limit = 10
    for (let n = 0; n < 3; n++) slots.take(0)
    slots.take(1)
    slots.count(0, 4)
    slots.count(1, 2)
    slots.publish(0, 7)
    slots.countRefused(0)
    assert.ok(slots.lock(0))
    slots.clear(0, 1000)
    assert.deepEqual(slots.view, { limit: 10, inUse: 1, lent: 0, waiting: 2, refused: 1 })
    assert.equal(slots.before(1, Number.POSITIVE_INFINITY, 1000), NONE)
    assert.ok(slots.lock(1), 'it held the lock')
  })
})

describe('the thread that has the next request', () => {
  test('is the one with the least tag, unless it does not come when called', () => {
    const slots = Slots.create(3)
    slots.publish(1, 5)
    slots.publish(2, 4)
    assert.equal(slots.before(0, 3, 0), NONE)
    assert.equal(slots.before(0, 4, 0), NONE)
    assert.equal(slots.before(0, 9, 0), 2)
    slots.wake(2, 100)
    assert.equal(slots.before(0, 9, 101), 2)
    assert.equal(slots.before(0, 9, 200), 1)
    slots.publish(2, Number.POSITIVE_INFINITY)
    assert.equal(slots.before(0, 9, 200), 1)
  })

  test('hears each call, also one from before it listened', async () => {
    const slots = Slots.create(2)
    let calls = 0
    let next = Promise.withResolvers<void>()
    slots.wake(1, 0)
    slots.onWoken(1, () => {
      calls++
      next.resolve()
    })
    await next.promise
    // What waits in this way keeps no process alive
    const holding = setInterval(() => {}, 1000)
    for (let call = 2; call <= 4; call++) {
      await new Promise(resolve => setImmediate(resolve))
      next = Promise.withResolvers()
      slots.wake(1, 0)
      await next.promise
      assert.equal(calls, call)
    }
    clearInterval(holding)
  })

  test('does not listen any more once it has ended that', async () => {
    const slots = Slots.create(2)
    const heard: string[] = []
    const end = slots.onWoken(1, () => heard.push('the one that ended'))
    const next = Promise.withResolvers<void>()
    slots.onWoken(1, () => {
      heard.push('the other')
      next.resolve()
    })
    end()
    const holding = setInterval(() => {}, 1000)
    // The end itself may be heard as a call
    await new Promise(resolve => setImmediate(resolve))
    heard.length = 0
    slots.wake(1, 0)
    await next.promise
    clearInterval(holding)
    assert.deepEqual(new Set(heard), new Set(['the other']))
  })
})
