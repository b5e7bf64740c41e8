import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readReport } from './h2load.ts'

const report = (changes: Record<string, string> = {}): string => {
  const lines: Record<string, string> = {
    protocol: 'Application protocol: h2',
    finished: 'finished in 3.00s, 20000.00 req/s, 2.49MB/s',
    requests:
      'requests: 40000 total, 40000 started, 40000 done, 40000 succeeded, 0 failed, 0 errored, 0 timeout',
    status: 'status codes: 40000 2xx, 0 3xx, 0 4xx, 0 5xx',
    ...changes,
  }
  return `${Object.values(lines).join('\n')}\n`
}

test('the figures of a clean report are read', () => {
  assert.deepEqual(readReport(report(), 'h2'), { requests: 40000, seconds: 2, wrong: 0, socketErrors: 0 })
})

test('answers of another status are wrong, and requests without one are errors', () => {
  const { wrong, socketErrors } = readReport(
    report({
      status: 'status codes: 39990 2xx, 0 3xx, 10 4xx, 0 5xx',
      requests:
        'requests: 40000 total, 40000 started, 40000 done, 39990 succeeded, 3 failed, 2 errored, 1 timeout',
    }),
    'h2',
  )
  assert.deepEqual([wrong, socketErrors], [10, 6])
})

test('a report of the other version, or one that says nothing, is refused', () => {
  assert.throws(() => readReport(report(), 'h1'), /did not speak http\/1\.1/)
  assert.throws(() => readReport(report({ finished: '' }), 'h2'), /says nothing/)
})
