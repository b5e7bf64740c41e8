import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { SharedCounters } from './shared-counters.ts'
import { FOREVER, LIMIT, SHARED_NAMES, START, TALLY, type ThreadTask } from './stress-tally.ts'

const THREADS = 4
const SLOTS = 30
/** For each of three tests; more of it finds rarer faults. */
const MILLISECONDS = Number(process.env.STRESS_MILLISECONDS ?? 600)

type Work = Pick<ThreadTask, 'scenario' | 'names' | 'rounds'>

/** Runs a scenario in real threads. A check that fails in one of them fails here. */
async function run(work: Work, counters: SharedCounters): Promise<Int32Array> {
  const tally = new SharedArrayBuffer(TALLY.length * 4)
  const workers = Array.from({ length: THREADS }, (_, thread) => {
    const workerData: ThreadTask = {
      ...work,
      thread,
      threads: THREADS,
      table: counters.buffer,
      tally,
      milliseconds: MILLISECONDS,
    }
    return new Worker(new URL('./stress-thread.ts', import.meta.url), { workerData })
  })
  try {
    await Promise.all(workers.map(worker => once(worker, 'exit')))
  } finally {
    // One that failed leaves the others waiting for it.
    await Promise.all(workers.map(worker => worker.terminate()))
  }
  return new Int32Array(tally)
}

test('threads that claim the same names at once lose no count and exceed no limit', async t => {
  const counters = SharedCounters.create({ capacity: 1, now: START })
  const tally = await run({ scenario: 'windows', names: 12, rounds: 8 }, counters)
  t.diagnostic(summary(tally))
  assert.ok(tally[TALLY.windows]! >= 200)
})

test('threads that want more names than there are slots left never share a slot', async t => {
  const counters = SharedCounters.create({ capacity: 1, now: START })
  keep(counters, SLOTS - 3)
  const tally = await run({ scenario: 'windows', names: 4, rounds: 1 }, counters)
  t.diagnostic(summary(tally))
  assert.ok(tally[TALLY.windows]! >= 200)
  for (let name = 0; name < SLOTS - 3; name++)
    assert.equal(counters.read(counters.key(`shared-${name}`), FOREVER - 1), 0)
})

/** Names that stay, so they have to be there before the bucket fills up. */
function keep(counters: SharedCounters, names: number): void {
  for (let name = 0; name < names; name++) counters.add(counters.key(`shared-${name}`), 0, FOREVER, START)
}

function summary(tally: Int32Array): string {
  const { operations, turnedAway, windows, clock } = TALLY
  return `${tally[operations]} operations, ${tally[turnedAway]} turned away, in ${tally[windows]! + tally[clock]!} windows`
}

test('threads whose names come and go in one bucket never touch each other’s counts', async t => {
  const counters = SharedCounters.create({ capacity: 1, now: START })
  keep(counters, SHARED_NAMES)
  counters.add(counters.key('slots'), 0, FOREVER, START)

  const tally = await run({ scenario: 'churn', names: 0, rounds: 0 }, counters)
  const now = START + tally[TALLY.clock]! * 100
  for (let name = 0; name < SHARED_NAMES; name++) {
    assert.ok(tally[TALLY.shared + name]! > 1_000)
    assert.equal(counters.read(counters.key(`shared-${name}`), now), tally[TALLY.shared + name])
  }
  assert.equal(counters.read(counters.key('slots'), now), 0)
  assert.ok(tally[TALLY.mostInUse]! > 1 && tally[TALLY.mostInUse]! <= LIMIT, 'slots were not contended')
  t.diagnostic(summary(tally))
})
