import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dayAfter, daysBetween, daysFrom, isDay } from './day.ts'

test('days are counted over months, leap years and changes of the clock', () => {
  assert.equal(dayAfter('2028-02-28', 1), '2028-02-29')
  assert.equal(dayAfter('2027-01-01', -1), '2026-12-31')
  assert.equal(daysBetween('2026-03-01', '2026-04-01'), 31)
})

test('the days of a span end, also at the end of all days', () => {
  assert.deepEqual(daysFrom('2028-02-28', '2028-03-01'), ['2028-02-28', '2028-02-29', '2028-03-01'])
  assert.deepEqual(daysFrom('9999-12-30', '9999-12-31'), ['9999-12-30', '9999-12-31'])
})

test('a day is a day of the calendar, in one form', () => {
  for (const text of ['2026-11-27', '2028-02-29']) assert.ok(isDay(text), text)
  for (const text of [
    '',
    '2026-11',
    '2026-11-31',
    '2027-02-29',
    '2026-13-01',
    '26-11-27',
    '2026-11-27T00:00',
    ' 2026-11-27',
  ])
    assert.ok(!isDay(text), text)
})
