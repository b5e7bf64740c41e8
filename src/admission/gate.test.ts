import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
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

  test('leave no slot free while somebody waits, and lose none, whatever comes and goes', async () => {
    const at = fc.integer({ min: 0, max: 1 })
    const kinds = fc.constantFrom('ask', 'ask', 'ask', 'end', 'end', 'keep', 'give up', 'limit')
    const steps = fc.array(fc.tuple(kinds, at, fc.nat(99)), { minLength: 40, maxLength: 120 })
    await fc.assert(
      fc.asyncProperty(steps, async steps => {
        const { slots, gates, ask } = twoGates()
        const places = gates.map(gate => ({
          gate,
          running: [] as { company: string; end: (() => void) | null }[],
          asked: [] as Asking[],
        }))
        const serve = async (): Promise<void> => {
          for (let turn = 0; turn < 6; turn++) {
            await nextTurn()
            for (const { asked, running } of places)
              for (const { company } of asked.splice(0).filter(each => !keepIf(each, asked)))
                running.push({ company, end: null })
            if (turn === 3) for (const { gate } of places) gate.expire()
          }
        }
        const keepIf = (each: Asking, asked: Asking[]): boolean => {
          const waits = each.state === 'waiting'
          if (waits) asked.push(each)
          return waits
        }
        const finish = (place: (typeof places)[number], n: number): void => {
          const [ended] = place.running.splice(n % Math.max(1, place.running.length), 1)
          if (ended === undefined) return
          ended.end?.()
          place.gate.leave()
        }
        for (const [kind, which, n] of steps) {
          const place = places[which]!
          const { gate, running, asked } = place
          const company = `company ${n % 4}`
          if (kind === 'end') finish(place, n)
          else if (kind === 'limit') slots.limit = 1 + (n % 8)
          else if (kind === 'ask') {
            if (gate.enterFor(company) > 0) running.push({ company, end: null })
            else asked.push(ask(gate, company))
          } else if (kind === 'keep') {
            const one = running[n % Math.max(1, running.length)]
            if (one?.end === null) one.end = gate.keep(one.company, 1, SILENT)
          } else if (kind === 'give up') {
            const [gone] = asked.splice(n % Math.max(1, asked.length), 1)
            if (gone !== undefined) gate.giveUp(gone)
          }
          await serve()
          const { inUse, limit, waiting } = slots.view
          assert.equal(inUse, places[0]!.running.length + places[1]!.running.length)
          assert.equal(waiting, places[0]!.asked.length + places[1]!.asked.length)
          assert.ok(waiting === 0 || inUse >= limit, `${inUse} of ${limit} in use, and ${waiting} wait`)
        }
        for (const place of places) {
          for (const waiting of place.asked.splice(0)) place.gate.giveUp(waiting)
        }
        for (const place of places) while (place.running.length > 0) finish(place, 0)
        assert.deepEqual(slots.view, { limit: slots.limit, inUse: 0, lent: 0, waiting: 0, refused: 0 })
      }),
      { numRuns: 150 },
    )
  })
})
