import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GOALS } from './goals.ts'
import { page } from './page.ts'
import type { Kept } from './report.ts'

const kept = (scenario: string, samples: Kept['samples']): Kept => ({
  scenario,
  title: `The ${scenario} title`,
  table: { columns: ['', 'CPU'], rows: [['gateway', '10.0']] },
  notes: ['A note.'],
  faults: [],
  chart: { title: 'CPU per request', unit: 'µs', bars: [] },
  samples,
  measured: '2026-01-02T03:04:05.000Z',
  machine: { cpu: 'a CPU', cores: 2, memoryGiB: 4, kernel: '6', pinned: 'pinned', versions: { node: '26' } },
})

const cpu = (entry: string, value: number) => ({ entry, round: 1, figures: { cpu: value } })

test('the page tells every goal, reached or not, and what was not measured', () => {
  const text = page([kept('small', [cpu('gateway', 30), cpu('haproxy-log', 20)])])
  const rows = text
    .split('\n')
    .filter(line => /missed by|reached|not measured/.test(line) && line.startsWith('|'))
  assert.equal(rows.length, GOALS.length)
  assert.match(text, /≤ 1 × +\| +1\.50 × \| missed by 0\.50×/)
  assert.match(text, /Not measured there: .*transfer/)
})

test('each result has its section with table, notes and chart', () => {
  const text = page([kept('small', []), kept('refused', [])])
  for (const name of ['small', 'refused']) {
    assert.match(
      text,
      new RegExp(`## The ${name} title\n\n\\|[\\s\\S]*A note\\.[\\s\\S]*results/${name}\\.svg`),
    )
  }
})
