import assert from 'node:assert/strict'
import { test } from 'node:test'
import { barChart } from './chart.ts'

const chart = {
  title: 'a < b & c',
  unit: 'µs',
  limit: 40,
  bars: [
    { label: 'peer', value: 20, low: 10, high: 50, own: false },
    { label: 'gateway', value: 25, own: true },
  ],
}

const widths = (svg: string): number[] =>
  [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(match => Number(match[1]))

test('bars are as long as their values', () => {
  const [peer, gateway] = widths(barChart(chart))
  assert.equal(gateway! / peer!, 25 / 20)
})

test('the longest whisker and the limit stay inside the picture', () => {
  const svg = barChart({ ...chart, limit: 100 })
  const rightmost = Math.max(...[...svg.matchAll(/(?:x1="|H)([\d.]+)/g)].map(match => Number(match[1])))
  assert.ok(rightmost < 760, `${rightmost}`)
})

test('text is escaped', () => {
  assert.ok(barChart(chart).includes('a &#60; b &#38; c'))
})

test('bars of nothing but zeros are drawn, without a width', () => {
  const svg = barChart({ title: 't', unit: 'MiB', bars: [{ label: 'a', value: 0, own: true }] })
  assert.deepEqual(widths(svg), [0])
})
