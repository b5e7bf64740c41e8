import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GOALS, type Goal, goalTable, judge, outcome } from './goals.ts'
import type { Result } from './result.ts'
import { SCENARIOS } from './scenarios/index.ts'

const result = (entries: Record<string, number>): Result => ({
  scenario: 'small',
  title: '',
  table: { columns: [], rows: [] },
  notes: [],
  faults: [],
  chart: { title: '', unit: '', bars: [] },
  samples: Object.entries(entries).map(([entry, cpu]) => ({ entry, round: 1, figures: { cpu } })),
})

const goal = (changes: Partial<Goal> = {}): Goal => ({
  scenario: 'small',
  what: 'CPU over a',
  entry: 'gateway',
  against: 'a',
  figure: 'cpu',
  bound: 'at most',
  limit: 1.5,
  unit: '×',
  ...changes,
})

const verdicts = (entries: Record<string, number>, changes: Partial<Goal> = {}) =>
  judge([result(entries)], [goal(changes)]).map(outcome)

test('a goal is reached at its bound, and otherwise says what is missing', () => {
  assert.deepEqual(verdicts({ gateway: 15, a: 10 }), ['reached'])
  assert.deepEqual(verdicts({ gateway: 17, a: 10 }), ['missed by 0.20×'])
})

test('a lower bound is missed from below', () => {
  assert.deepEqual(verdicts({ gateway: 15, a: 10 }, { bound: 'at least' }), ['reached'])
  assert.deepEqual(verdicts({ gateway: 12, a: 10 }, { bound: 'at least' }), ['missed by 0.30×'])
})

test('a goal without a peer takes the figure itself', () => {
  const { against: _, ...alone } = goal({ limit: 80, unit: 'MB' })
  assert.deepEqual(judge([result({ gateway: 97 })], [alone]).map(outcome), ['missed by 17.0 MB'])
})

test('what was not measured is neither reached nor missed', () => {
  assert.deepEqual(verdicts({ gateway: 15 }), ['not measured'])
  assert.deepEqual(judge([], [goal()]).map(outcome), ['not measured'])
})

test('the table has one row for each goal', () => {
  assert.equal(goalTable(judge([])).rows.length, GOALS.length)
})

test('every goal belongs to a scenario that exists', () => {
  for (const { scenario } of GOALS) assert.ok(scenario in SCENARIOS, scenario)
})
