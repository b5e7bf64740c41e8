import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CpuProfile, selfTimes } from './profile.ts'

const frame = (functionName: string, url = '', lineNumber = 0) => ({ functionName, url, lineNumber })

const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: frame('(idle)') },
    { id: 2, callFrame: frame('parse', 'node:internal', 9) },
    { id: 3, callFrame: frame('', new URL('../src/edge/answer.ts', import.meta.url).href, 4) },
    { id: 4, callFrame: frame('parse', 'node:internal', 9) },
  ],
  samples: [2, 1, 3, 4, 2],
  timeDeltas: [0, 100, 1000, 50, 50],
}

test('a sample counts until the next one, idle time does not count, and one function is one line', () => {
  assert.deepEqual(selfTimes([profile]), [
    { place: 'parse node:internal:10', microseconds: 150, share: 0.75 },
    { place: '(anonymous) src/edge/answer.ts:5', microseconds: 50, share: 0.25 },
  ])
})

test('the profiles of several threads add up', () => {
  assert.equal(selfTimes([profile, profile])[0]?.microseconds, 300)
})

test('a profile without a sample has no line', () => {
  assert.deepEqual(selfTimes([{ nodes: [], samples: [], timeDeltas: [] }]), [])
})
