import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { exchangeOf } from '../../test/support/exchange.ts'
import { Gate } from '../admission/gate.ts'
import { Slots } from '../admission/slots.ts'
import { type Exchange, type RequestBody, reply } from '../exchange.ts'
import { SharedCounters } from '../store/shared-counters.ts'
import { fairQueue } from './fair-queue.ts'

/** Milliseconds, as the limit of the upstream learned of them; null: it did not. */
async function measured(exchange: Exchange, upstream: () => Promise<unknown>): Promise<number | null> {
  const slots = Slots.create(1)
  const gate = new Gate({
    upstream: 'service',
    slots,
    tags: SharedCounters.create({ capacity: 10 }),
    worker: 0,
    queueSize: 1,
    queueTimeout: 1_000,
    concurrency: { min: 1, max: 1 },
    streamsLend: true,
  })
  const before = [...slots.limitState]
  await fairQueue(gate)(exchange, async () => {
    await upstream()
    return reply(200, [])
  })
  // One answer: a count of 1, then the logarithm, then its square
  const seen = [...slots.limitState].filter((value, index) => value !== before[index])
  return seen.length === 0 ? null : Math.exp(seen[1]!)
}

const body = () => ({ received: 0, completedAt: 0 }) as { -readonly [K in keyof RequestBody]: RequestBody[K] }

test('an answer tells how busy its upstream is', async () => {
  const latency = await measured(exchangeOf(), () => delay(100))
  assert.ok(latency !== null && latency > 90, `${latency} ms`)
})

test('how long a client takes to send its body tells nothing', async () => {
  const slow = body()
  const latency = await measured(exchangeOf({ framing: 'chunked', body: slow }), async () => {
    await delay(300)
    slow.completedAt = performance.now()
  })
  assert.ok(latency !== null && latency < 150, `${latency} ms`)
})

test('an answer to a request that is not there yet tells nothing', async () => {
  assert.equal(await measured(exchangeOf({ framing: 10, body: body() }), () => delay(10)), null)
})
