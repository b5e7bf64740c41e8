import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Histogram } from './histogram.ts'

const filled = (values: Iterable<number>): Histogram => {
  const histogram = new Histogram()
  for (const value of values) histogram.record(value)
  return histogram
}

test('small values are kept exactly', () => {
  const histogram = filled(Array.from({ length: 100 }, (_, index) => index + 1))
  assert.deepEqual(
    [0.01, 0.5, 0.99, 1].map(share => histogram.percentile(share)),
    [1, 50, 99, 100],
  )
})

test('a percentile is never below the true value, and at most 1.6 % above it', () => {
  for (let value = 1; value < 1e9; value = Math.ceil(value * 1.07)) {
    const found = filled([value, 2e9]).percentile(0.5)
    assert.ok(found >= value && found <= value * 1.016, `${value} became ${found}`)
  }
})

test('buckets follow one another without a gap or an overlap', () => {
  let before = -1
  for (let value = 0; value < 5_000; value++) {
    const end = filled([value, 2e9]).percentile(0.5)
    assert.ok(end >= value && end >= before, `${value}`)
    before = end
  }
})

test('the highest value is told exactly', () => {
  assert.equal(filled([3, 1_234_567]).percentile(1), 1_234_567)
})

test('one slow answer in a thousand shows at p99.9, not at p99', () => {
  const histogram = filled([...Array.from({ length: 998 }, () => 10), 5000, 5000])
  assert.equal(histogram.percentile(0.99), 10)
  assert.ok(histogram.percentile(0.999) >= 5000)
})

test('an empty one has no percentile', () => {
  assert.throws(() => filled([]).percentile(0.5), RangeError)
})
