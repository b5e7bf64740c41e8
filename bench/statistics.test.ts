import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pairwiseRatio, spread } from './statistics.ts'

test('the median of an even number of values lies between the two in the middle', () => {
  assert.deepEqual(spread([40, 10, 30, 20]), { median: 25, least: 10, most: 40 })
})

test('the median of an odd number of values is the one in the middle', () => {
  assert.deepEqual(spread([9, 1, 5]), { median: 5, least: 1, most: 9 })
})

test('nothing measured has no median', () => {
  assert.throws(() => spread([]), RangeError)
})

test('ratios are formed round by round, so that a slow round does not tilt them', () => {
  const values = [20, 60, 22]
  const others = [10, 30, 11]
  assert.deepEqual(pairwiseRatio(values, others), { median: 2, least: 2, most: 2 })
})

test('a round that only one side finished does not count', () => {
  assert.deepEqual(pairwiseRatio([2, 4, 9], [1, 2]), { median: 2, least: 2, most: 2 })
})
