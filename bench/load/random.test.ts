import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MEAN_MILLISECONDS } from '../upstream/limited-paths.ts'
import { chance, pauseBefore, serviceTime } from './random.ts'

const places = Array.from({ length: 20_000 }, (_, place) => place)
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

test('chance is spread evenly, and the same each time', () => {
  const tenths = Array(10).fill(0)
  for (const place of places) tenths[Math.floor(chance(7, place) * 10)]++
  for (const count of tenths) assert.ok(Math.abs(count - 2000) < 200, `${tenths}`)
  assert.equal(chance(7, 1), chance(7, 1))
  assert.notEqual(chance(7, 1), chance(8, 1))
})

test('pauses are those of a Poisson process: 1 in the mean, and a third of them longer', () => {
  const pauses = places.map(place => pauseBefore(0, place))
  assert.ok(Math.abs(mean(pauses) - 1) < 0.03, `${mean(pauses)}`)
  const longer = pauses.filter(pause => pause > 1).length / pauses.length
  assert.ok(Math.abs(longer - Math.exp(-1)) < 0.02, `${longer}`)
})

test('requests take what the capacity of the service is computed from, in the mean', () => {
  const times = places.map(place => serviceTime(10, place))
  assert.ok(Math.abs(mean(times) / MEAN_MILLISECONDS - 1) < 0.01, `${mean(times)}`)
})
