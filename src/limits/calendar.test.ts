import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Calendar, type CalendarUnit } from './calendar.ts'

const window = (unit: CalendarUnit, zone: string, at: string) => {
  const { start, end, label } = new Calendar(unit, zone).at(Date.parse(at))
  return [new Date(start).toISOString(), new Date(end).toISOString(), label]
}

describe('a day', () => {
  test('in UTC', () => {
    assert.deepEqual(window('day', 'UTC', '2026-11-27T23:59:59.999Z'), [
      '2026-11-27T00:00:00.000Z',
      '2026-11-28T00:00:00.000Z',
      '2026-11-27',
    ])
  })

  test('begins with the zone', () => {
    assert.deepEqual(window('day', 'Europe/Madrid', '2026-11-26T23:00:00Z'), [
      '2026-11-26T23:00:00.000Z',
      '2026-11-27T23:00:00.000Z',
      '2026-11-27',
    ])
  })

  test('has 23 hours when clocks are set forward', () => {
    assert.deepEqual(window('day', 'Europe/Madrid', '2026-03-29T12:00:00Z'), [
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
      '2026-03-29',
    ])
  })

  test('has 25 hours when they are set back', () => {
    assert.deepEqual(window('day', 'Europe/Madrid', '2026-10-25T12:00:00Z'), [
      '2026-10-24T22:00:00.000Z',
      '2026-10-25T23:00:00.000Z',
      '2026-10-25',
    ])
  })

  test('begins behind the gap where clocks are set forward at midnight', () => {
    assert.deepEqual(window('day', 'America/Santiago', '2026-09-06T12:00:00Z'), [
      '2026-09-06T04:00:00.000Z',
      '2026-09-07T03:00:00.000Z',
      '2026-09-06',
    ])
  })

  test('fourteen hours ahead of UTC', () => {
    assert.deepEqual(window('day', 'Pacific/Kiritimati', '2026-01-01T10:00:00Z'), [
      '2026-01-01T10:00:00.000Z',
      '2026-01-02T10:00:00.000Z',
      '2026-01-02',
    ])
  })
})

describe('a month', () => {
  test('ends with the year', () => {
    assert.deepEqual(window('month', 'America/Bogota', '2026-12-31T23:00:00Z'), [
      '2026-12-01T05:00:00.000Z',
      '2027-01-01T05:00:00.000Z',
      '2026-12',
    ])
  })

  test('of a leap year', () => {
    assert.deepEqual(window('month', 'UTC', '2028-02-29T12:00:00Z'), [
      '2028-02-01T00:00:00.000Z',
      '2028-03-01T00:00:00.000Z',
      '2028-02',
    ])
  })
})

test('windows follow each other without a gap, and hold the moment that was asked for', () => {
  const zones = ['UTC', 'Europe/Madrid', 'America/Santiago', 'Australia/Lord_Howe', 'Asia/Kathmandu']
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.constantFrom<CalendarUnit[]>('day', 'month'),
      fc.integer({ min: Date.parse('2020-01-01'), max: Date.parse('2036-01-01') }),
      (zone, unit, moment) => {
        const calendar = new Calendar(unit, zone)
        const { start, end } = calendar.at(moment)
        assert.ok(start <= moment && moment < end)
        assert.equal(calendar.at(end).start, end)
        assert.equal(calendar.at(start - 1).end, start)
      },
    ),
    { numRuns: 300 },
  )
})
