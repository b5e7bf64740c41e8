import assert from 'node:assert/strict'
import { test } from 'node:test'
import { figureOf, ratioOf, type Sample } from './result.ts'

const sample = (entry: string, round: number, cpu: number): Sample => ({ entry, round, figures: { cpu } })

test('a ratio pairs the same rounds, in whichever order they were measured', () => {
  const samples = [sample('a', 1, 20), sample('b', 1, 10), sample('b', 2, 30), sample('a', 2, 60)]
  assert.deepEqual(ratioOf(samples, 'a', 'b', 'cpu'), { median: 2, least: 2, most: 2 })
})

test('a round that one of the two missed does not count', () => {
  const samples = [sample('a', 1, 20), sample('b', 2, 1), sample('a', 3, 30), sample('b', 3, 10)]
  assert.deepEqual(ratioOf(samples, 'a', 'b', 'cpu'), { median: 3, least: 3, most: 3 })
})

test('what was not measured is null', () => {
  assert.equal(figureOf([sample('a', 1, 1)], 'a', 'memory'), null)
  assert.equal(ratioOf([sample('a', 1, 1)], 'a', 'b', 'cpu'), null)
})
