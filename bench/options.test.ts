import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOptions, RESULTS } from './options.ts'
import { SCENARIOS } from './scenarios/index.ts'

test('without a word, everything runs and is kept', () => {
  const options = parseOptions([])
  assert.deepEqual(options.scenarios, Object.keys(SCENARIOS))
  assert.equal(options.results, RESULTS)
})

test('scenarios run in their own order, whatever the order of the names', () => {
  assert.deepEqual(parseOptions(['--only', 'idle,small']).scenarios, ['small', 'idle'])
})

test('a part never replaces the whole', () => {
  assert.equal(parseOptions(['--contenders', 'gateway']).results, null)
  assert.equal(parseOptions(['--contenders', 'gateway', '--results', '/tmp/x']).results, '/tmp/x')
  assert.equal(parseOptions(['--against', 'HEAD']).results, null)
})

test('revisions are compared in a few scenarios unless told otherwise', () => {
  assert.deepEqual(parseOptions(['--against', 'HEAD']).scenarios, ['small', 'post-10k', 'refused'])
  assert.deepEqual(parseOptions(['--against', 'HEAD', '--only', 'stream']).scenarios, ['stream'])
})

for (const args of [
  ['--only', 'nothing'],
  ['--rounds', '0'],
  ['--seconds', 'two'],
  ['--tolerance', '10'],
  ['--no-such-option'],
]) {
  test(`refuses ${args.join(' ')}`, () => {
    assert.throws(() => parseOptions(args))
  })
}
