import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { until } from '../../test/support/until.ts'
import { SharedCounters } from '../store/shared-counters.ts'
import { type RefusalReason, Waiting } from './fair-queue.ts'
import { Gate } from './gate.ts'
import { Slots } from './slots.ts'

class Asking extends Waiting {
  state: 'waiting' | 'served' | RefusalReason = 'waiting'

  onTurn(): void {
    this.state = 'served'
  }

  onRefused(reason: RefusalReason): void {
    this.state = reason
  }
}

const SILENT = { bytesSent: 0, bytesReceived: 0, body: null }

/** The gates of two threads in front of one upstream of four slots. */
function twoGates() {
  const slots = Slots.create(2)
  const tags = SharedCounters.create({ capacity: 100 })
  const options = { upstream: 'service', slots, tags, queueSize: 100, queueTimeout: 60_000 }
  const gates = [0, 1].map(
    worker => new Gate({ ...options, worker, concurrency: 4, streamsLend: true }),
  ) as unknown as readonly [Gate, Gate]
  const ask = (gate: Gate, company: string): Asking => {
    const asking = new Asking(company, 1, gate.now())
    gate.wait(asking)
    return asking
  }
  return { slots, gates, ask }
}

describe('the gates of two threads', () => {
  test('take turns while streams lend slots, also where all are in use by one of them', async () => {
    const { slots, gates, ask } = twoGates()
    const [one, other] = gates
    const open = Array.from(
      { length: 3 },
      () => one.enterFor('streams') > 0 && one.keep('streams', 1, SILENT),
    )
    assert.equal(slots.lent, 2)
    let running = 0
    while (one.enterFor('noisy') > 0) running++
    assert.deepEqual([running, slots.free], [3, 0])
    const noisy = Array.from({ length: 20 }, () => ask(one, 'noisy'))
    // They have had some turns, so that whoever comes now is next
    for (let n = 0; n < 3; n++) one.leave()
    const quiet = ask(other, 'quiet')
    for (let n = 0; n < 3; n++) one.leave()
    await until('it had its turn', () => quiet.state === 'served')
    assert.ok(noisy.some(({ state }) => state === 'waiting'))
    for (const end of open) if (end) end()
  })
})
