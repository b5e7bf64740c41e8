import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Revocations } from './revocations.ts'
import type { Race } from './revocations-racer.ts'

const ROUNDS = 6_000
const NOW = 1_800_000_000_000

test('a session that is spared at the very moment at which its user is revoked has old tokens refused', async t => {
  const revocations = Revocations.create(4 * ROUNDS, NOW)
  const arrivals = new SharedArrayBuffer(4)
  const workers = [true, false].map(spares => {
    const workerData: Race = { buffers: revocations.buffers, arrivals, rounds: ROUNDS, spares, now: NOW }
    return new Worker(new URL('./revocations-racer.ts', import.meta.url), { workerData })
  })
  try {
    await Promise.all(workers.map(worker => once(worker, 'exit')))
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
  let userFirst = 0
  for (let round = 0; round < ROUNDS; round++) {
    const held = { userId: `user-${round}`, issuedAt: NOW / 1000 - 60 }
    for (const sessionId of [`session-${round}`, 'another', null])
      assert.equal(revocations.isRevoked({ ...held, sessionId }, NOW), true, `round ${round}`)
    // Spared from the first mark on only: a token in between tells which one came last.
    const between = { ...held, sessionId: `session-${round}`, issuedAt: NOW / 1000 + 0.001 }
    if (!revocations.isRevoked(between, NOW)) userFirst++
  }
  t.diagnostic(`the user was revoked first in ${userFirst} of ${ROUNDS} rounds`)
})
