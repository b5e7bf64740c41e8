import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cpuMicroseconds, residentBytes, threadMicroseconds } from './proc.ts'

const skip = process.platform !== 'linux' && 'reads /proc'

test('the CPU time of a process grows by what it computes', { skip }, () => {
  const before = cpuMicroseconds(process.pid)
  const used = process.cpuUsage()
  while (process.cpuUsage(used).user < 100_000) {}
  const grown = cpuMicroseconds(process.pid) - before
  assert.ok(grown > 80_000 && grown < 1_000_000, `${grown} µs`)
})

test('a process has its threads and its memory', { skip }, () => {
  assert.ok(threadMicroseconds(process.pid).has(String(process.pid)))
  assert.ok(Math.abs(residentBytes(process.pid) / process.memoryUsage.rss() - 1) < 0.5)
})

test('a process that is gone has used nothing', { skip }, () => {
  assert.equal(cpuMicroseconds(2 ** 22 + 1), 0)
})
