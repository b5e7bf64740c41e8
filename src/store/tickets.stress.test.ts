import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Tickets } from './tickets.ts'
import { CONTENDED, NOW, TALLY, type TicketTask } from './tickets-stress-thread.ts'

const THREADS = 4
/** More of it finds rarer faults. */
const MILLISECONDS = Number(process.env.STRESS_MILLISECONDS ?? 600)

interface Running {
  readonly tally: Int32Array
  readonly workers: readonly Worker[]
}

function start(scenario: TicketTask['scenario'], tickets: Tickets): Running {
  const tally = new SharedArrayBuffer(TALLY.length * 4)
  const told = new SharedArrayBuffer(CONTENDED * 24)
  const wins = new SharedArrayBuffer(CONTENDED * 4)
  const workers = Array.from({ length: THREADS }, (_, thread) => {
    const workerData: TicketTask = {
      scenario,
      thread,
      threads: THREADS,
      tickets: tickets.buffer,
      tally,
      told,
      wins,
      milliseconds: MILLISECONDS,
    }
    return new Worker(new URL('./tickets-stress-thread.ts', import.meta.url), { workerData })
  })
  return { tally: new Int32Array(tally), workers }
}

test('of all threads that want a ticket exactly one gets it, and what it was issued for', async t => {
  // Hardly more slots than tickets: each is used again and again, by one thread after the other.
  const { tally, workers } = start('contend', Tickets.create({ usual: 3, large: 8, now: NOW }))
  try {
    await Promise.all(workers.map(worker => once(worker, 'exit')))
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
  const rounds = tally[TALLY.rounds]!
  assert.ok(rounds >= 100)
  assert.equal(tally[TALLY.redeemed], rounds * CONTENDED)
  t.diagnostic(`${rounds} rounds`)
})

test('threads that die anywhere leave the slots to others after a while', async t => {
  for (let time = 0; time < 5; time++) {
    const tickets = Tickets.create({ usual: 8, large: 4, now: NOW })
    const { tally, workers } = start('churn', tickets)
    const failures: unknown[] = []
    for (const worker of workers) worker.on('error', error => failures.push(error))
    await Promise.race([once(workers[0]!, 'exit'), turned(tally, 2_000)])
    await Promise.all(workers.map(worker => worker.terminate()))
    assert.deepEqual(failures, [])
    const afterwards = NOW + 400_000
    const issued = Array.from({ length: 12 }, (_, each) =>
      tickets.issue(`${each}`, afterwards + 30_000, afterwards),
    )
    assert.deepEqual(
      issued.map(ticket => ticket && tickets.redeem(ticket, afterwards)),
      issued.map((_, each) => `${each}`),
    )
    t.diagnostic(`${tally[TALLY.turns]} turns`)
  }
})

/** Resolves when the threads are under way. */
async function turned(tally: Int32Array, turns: number): Promise<void> {
  while (Atomics.load(tally, TALLY.turns) < turns) await delay(1)
}
