import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WorkerCounters } from './worker-counters.ts'

const NAMES = { totals: ['requests', 'refused'], gauges: ['connections'] } as const

test('sums what the workers counted', () => {
  const counters = WorkerCounters.create(NAMES, 3)
  for (let worker = 0; worker < 3; worker++) {
    const mine = WorkerCounters.attach(NAMES, counters.buffer)
    mine.cell(worker, 'requests').add(10 ** worker)
    mine.cell(worker, 'connections').add(2)
  }
  assert.equal(counters.sum('requests'), 111)
  assert.equal(counters.sum('connections'), 6)
  assert.equal(counters.sum('refused'), 0)
  assert.equal(counters.cell(1, 'requests').value, 10)
})

test('forgets the gauges of a worker that ended, and keeps its totals', () => {
  const counters = WorkerCounters.create(NAMES, 2)
  for (let worker = 0; worker < 2; worker++) {
    counters.cell(worker, 'requests').add(5)
    counters.cell(worker, 'connections').add(3)
  }
  counters.resetGauges(0)
  assert.equal(counters.sum('connections'), 3)
  assert.equal(counters.sum('requests'), 10)
})

test('gives each worker and name a cache line of its own', () => {
  const one = WorkerCounters.create(NAMES, 1).buffer.byteLength
  const two = WorkerCounters.create(NAMES, 2).buffer.byteLength
  assert.equal(two - one, 3 * 64)
})

test('refuses other names than it was created with', () => {
  const { buffer } = WorkerCounters.create(NAMES, 1)
  const moved = { totals: ['requests'], gauges: ['refused', 'connections'] } as const
  assert.throws(() => WorkerCounters.attach(moved, buffer), /other names/)
  assert.throws(() => WorkerCounters.attach(NAMES, new SharedArrayBuffer(1_024)), /not a buffer/)
})

test('refuses workers and names that it has no room for', () => {
  const counters = WorkerCounters.create(NAMES, 2)
  assert.throws(() => counters.cell(2, 'requests'), /no worker 2/)
  assert.throws(() => counters.cell(-1, 'requests'), /no worker -1/)
  assert.throws(() => counters.cell(0, 'other' as 'requests'), /named other/)
  assert.throws(() => WorkerCounters.create(NAMES, 0), RangeError)
  assert.throws(() => WorkerCounters.create({ totals: ['a'], gauges: ['a'] }, 1), /named twice/)
})
