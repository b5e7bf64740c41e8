import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policyField, rateLimitField } from './fields.ts'
import { compileRule, type Rule } from './rules.ts'

const NOW = Date.parse('2026-11-27T23:00:00Z')
const COMMON = { unit: 'requests', by: 'company', dryRun: false } as const
const rate = compileRule({ ...COMMON, name: 'burst', limit: 100, window: 60 }, 'UTC')
const day = compileRule({ ...COMMON, name: 'day', limit: 1000, window: 'day', unit: 'bytesOut' }, 'UTC')
const month = compileRule({ ...COMMON, name: 'month', limit: 50, window: 'month', unit: 'cost' }, 'UTC')
const slots = compileRule({ ...COMMON, name: 'parallel', concurrent: 5 }, 'UTC')

const field = (levels: readonly { rule: Rule; level: number }[]): string =>
  rateLimitField(
    levels.map(({ rule }) => rule),
    levels.map(({ level }) => level),
    levels.length,
    NOW,
  ).text

test('what holds, in the order of the plan', () => {
  assert.equal(
    policyField([rate, day, month, slots]),
    '"burst";q=100;w=60, "day";q=1000;qu="content-bytes";w=86400, "month";q=50;qu="cost", "parallel";q=5;qu="concurrent-requests"',
  )
})

test('what is left, the one that binds first in front', () => {
  const levels = [
    { rule: rate, level: 6_000 },
    { rule: day, level: 990 },
    { rule: month, level: 10.4 },
    { rule: slots, level: 5 },
  ]
  assert.equal(field(levels), '"parallel";r=0, "day";r=10;t=3600, "burst";r=90;t=6, "month";r=39;t=262800')
})

test('a refusal stands in front, with nothing left', () => {
  assert.equal(
    field([
      { rule: slots, level: 5 },
      { rule: rate, level: -1_500 },
    ]),
    '"burst";r=0;t=2, "parallel";r=0',
  )
})

test('never less than nothing', () => {
  assert.equal(field([{ rule: month, level: 999 }]), '"month";r=0;t=262800')
})
