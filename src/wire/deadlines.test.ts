import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from './deadlines.ts'

/** Resolves with the time at which it expired. */
function expiring(seconds: number): { item: Expiring; expired: Promise<number> } {
  const { promise, resolve } = Promise.withResolvers<number>()
  const item: Expiring = {
    deadline: seconds === 0 ? 0 : deadlineIn(seconds),
    expire: () => resolve(performance.now()),
  }
  return { item, expired: promise }
}

describe('a deadline', () => {
  // The timer does not hold the process: something else has to, as sockets do in the gateway.
  const holding = setInterval(() => {}, 1_000)
  test.after(() => clearInterval(holding))

  test('expires once, never early', { timeout: 5_000 }, async () => {
    const { item, expired } = expiring(0.15)
    const due = item.deadline
    watchDeadline(item)
    assert.ok((await expired) >= due)
    assert.equal(item.deadline, 0, 'it would expire again')
    unwatchDeadline(item)
  })

  test('does not expire when there is none, when it was moved, or when nobody watches it any more', {
    timeout: 5_000,
  }, async () => {
    const calls: string[] = []
    const items = (['none', 'moved', 'unwatched'] as const).map(what => ({
      deadline: what === 'none' ? 0 : deadlineIn(0.05),
      expire: () => calls.push(what),
    }))
    const [, moved, unwatched] = items
    for (const item of items) watchDeadline(item)
    moved!.deadline = deadlineIn(60)
    unwatchDeadline(unwatched!)
    const control = expiring(0.3)
    watchDeadline(control.item)
    await control.expired
    assert.deepEqual(calls, [])
    for (const item of [...items, control.item]) unwatchDeadline(item)
  })

  test('may unwatch others and watch anew from within', { timeout: 5_000 }, async () => {
    const calls: string[] = []
    const { item: last, expired } = expiring(0.2)
    const second: Expiring = { deadline: deadlineIn(0.01), expire: () => calls.push('second') }
    const first: Expiring = {
      deadline: deadlineIn(0.01),
      expire() {
        calls.push('first')
        unwatchDeadline(first)
        unwatchDeadline(second)
        watchDeadline(last)
      },
    }
    watchDeadline(first)
    watchDeadline(second)
    await expired
    assert.deepEqual(calls, ['first'])
    unwatchDeadline(last)
  })
})
