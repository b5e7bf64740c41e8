import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Calendar, dayAfter, daysBetween, isDay } from './calendar.ts'

const at = (text: string): number => Date.parse(text)

for (const [timeZone, last, first] of [
  ['UTC', '2026-11-27T23:59:59.999Z', '2026-11-28T00:00:00.000Z'],
  ['Europe/Madrid', '2026-11-27T22:59:59.999Z', '2026-11-27T23:00:00.000Z'],
  ['America/New_York', '2026-11-28T04:59:59.999Z', '2026-11-28T05:00:00.000Z'],
  // Offsets of half and quarter hours
  ['Asia/Kolkata', '2026-11-27T18:29:59.999Z', '2026-11-27T18:30:00.000Z'],
  ['Asia/Kathmandu', '2026-11-27T18:14:59.999Z', '2026-11-27T18:15:00.000Z'],
  ['Pacific/Kiritimati', '2026-11-27T09:59:59.999Z', '2026-11-27T10:00:00.000Z'],
] as const) {
  test(`a day of ${timeZone} ends at its midnight`, () => {
    const calendar = new Calendar(timeZone)
    assert.equal(calendar.dayOf(at(last)), '2026-11-27')
    assert.equal(calendar.dayOf(at(first)), '2026-11-28')
    assert.equal(calendar.dayOf(at(last)), '2026-11-27', 'asked for again, after the clock was set back')
  })
}

test('days of 23 and of 25 hours are one day', () => {
  const calendar = new Calendar('Europe/Madrid')
  for (const [day, begins, ends] of [
    ['2026-03-29', '2026-03-28T23:00:00Z', '2026-03-29T21:59:59Z'],
    ['2026-10-25', '2026-10-24T22:00:00Z', '2026-10-25T22:59:59Z'],
  ] as const) {
    for (let time = at(begins); time <= at(ends); time += 600_000) assert.equal(calendar.dayOf(time), day)
    assert.equal(calendar.dayOf(at(ends)), day)
    assert.notEqual(calendar.dayOf(at(begins) - 1), day)
    assert.notEqual(calendar.dayOf(at(ends) + 1_000), day)
  }
})

test('days are counted over months, leap years and changes of the clock', () => {
  assert.equal(dayAfter('2028-02-28', 1), '2028-02-29')
  assert.equal(dayAfter('2027-01-01', -1), '2026-12-31')
  assert.equal(daysBetween('2026-03-01', '2026-04-01'), 31)
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
