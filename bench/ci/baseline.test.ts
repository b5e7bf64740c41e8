import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Baseline, chooseMeter, leastOf, line, risen } from './baseline.ts'

const costs = { small: 100_000, refused: 50_000 }
const baseline: Baseline = {
  recorded: '2026-01-01',
  node: '26',
  callgrind: costs,
  cpu: { small: 3, refused: 1 },
}

test('the steadiest meter that is here and in the baseline is taken', () => {
  assert.equal(chooseMeter(baseline, ['perf', 'callgrind', 'cpu']), 'callgrind')
  assert.equal(chooseMeter(baseline, ['perf', 'cpu']), 'cpu')
  assert.equal(chooseMeter(baseline, ['perf']), null)
})

test('a rise within the tolerance passes, one above it is named', () => {
  assert.deepEqual(risen('callgrind', costs, { small: 114_000, refused: 50_000 }), [])
  assert.deepEqual(risen('callgrind', costs, { small: 116_000, refused: 50_000 }), ['small'])
  assert.deepEqual(risen('cpu', costs, { small: 134_000, refused: 70_000 }), ['refused'])
})

test('the least of two measurements counts for each question by itself', () => {
  assert.deepEqual(leastOf({ small: 1, refused: 4 }, { small: 2, refused: 3 }), { small: 1, refused: 3 })
})

test('one line says it all', () => {
  assert.equal(
    line('callgrind', costs, { small: 120_000, refused: 45_000 }),
    'bench: small 120,000 (+20 %), refused 45,000 (−10 %) instructions: small risen by more than 15 %',
  )
  assert.match(
    line('cpu', { small: 3, refused: 1 }, { small: 3, refused: 1 }),
    /small 3\.00 \(\+0 %\).*: within 35 %$/,
  )
})
