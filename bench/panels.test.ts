import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PanelChart, panelChart } from './panels.ts'

const chart: PanelChart = {
  title: 'a < b',
  panels: [
    {
      title: 'p99, ms',
      rows: [
        {
          label: 'gateway',
          own: true,
          bars: [
            { value: 50, before: true },
            { value: 100, text: '100 (+100 %)' },
          ],
        },
        { label: 'peer', own: false, bars: [{ value: 25, before: true }, { value: 200 }] },
      ],
    },
    {
      title: 'busy, %',
      limit: { value: 100, text: '100' },
      rows: [{ label: 'peer', own: false, bars: [{ value: 75 }] }],
    },
    { title: 'refused, %', rows: [{ label: 'peer', own: false, bars: [{ value: 0 }] }] },
  ],
}

const svg = panelChart(chart)
const bars = [...svg.matchAll(/<rect class="([^"]+)" x="300" y="([\d.]+)" width="([\d.]+)"/g)].map(
  ([, classes, y, width]) => ({ classes, y: Number(y), width: Number(width) }),
)

test('bars of a panel are as long as their values, and those of the next have a scale of their own', () => {
  const [alone, beside, , most, busy, none] = bars.map(({ width }) => width)
  assert.equal(beside! / alone!, 2)
  assert.equal(most! / beside!, 2)
  assert.equal(busy! / most!, 0.75)
  assert.equal(none, 0)
})

test('what a bar is compared with is paler, and the gateway has its own colour', () => {
  assert.deepEqual(
    bars.slice(0, 4).map(({ classes }) => classes),
    ['own before', 'own', 'peer before', 'peer'],
  )
})

test('no two bars lie upon each other, and all lie within the picture', () => {
  const height = Number(/height="(\d+)"/.exec(svg)?.[1])
  for (const [index, { y }] of bars.entries()) assert.ok(index === 0 || y >= bars[index - 1]!.y + 14)
  assert.ok(bars.at(-1)!.y + 14 < height)
})

test('words are escaped', () => assert.ok(svg.includes('a &#60; b')))
