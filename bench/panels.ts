/** A picture of several measures of the same contenders, one under the other. */

import { escaped, figure, round, STYLE, WIDTH } from './chart.ts'

export type PanelBar = {
  value: number
  /** What stands behind it, in place of the value. */
  text?: string
  /** Paler: what the other bar of the row is compared with. */
  before?: boolean
}

export type Panel = {
  title: string
  /** Drawn as a line, with what it means. */
  limit?: { value: number; text: string }
  rows: { label: string; own: boolean; bars: PanelBar[] }[]
}

export type PanelChart = { title: string; panels: Panel[] }

const LABELS = 300
const FIGURES = 130
const BAR = 14
const GAP = 10
const HEAD = 40
const TOP = 44

const OWN_STYLE = `${STYLE}
  .heading { font-weight: 600 } .before { opacity: .45 } .small { font-size: 12px }`

export function panelChart({ title, panels }: PanelChart): string {
  let y = TOP
  const drawn = panels.map(panel => {
    const picture = drawPanel(panel, y)
    y += heightOf(panel)
    return picture
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">
<title>${escaped(title)}</title>
<style>${OWN_STYLE}
</style>
<text class="title" x="16" y="24">${escaped(title)}</text>
${drawn.join('\n')}
</svg>
`
}

function heightOf({ rows }: Panel): number {
  return HEAD + rows.reduce((sum, { bars }) => sum + bars.length * BAR + GAP, 0)
}

function drawPanel(panel: Panel, top: number): string {
  const { title, rows, limit } = panel
  const values = rows.flatMap(({ bars }) => bars.map(({ value }) => value))
  const most = Math.max(limit?.value ?? 0, ...values, Number.MIN_VALUE)
  const width = (value: number): number => round((value / most) * (WIDTH - LABELS - FIGURES))
  let y = top + HEAD - 12
  const drawn = rows.map(({ label, own, bars }) => {
    const middle = y + (bars.length * BAR) / 2 + 4
    const parts = [`<text x="${LABELS - 10}" y="${middle}" text-anchor="end">${escaped(label)}</text>`]
    for (const bar of bars) {
      parts.push(drawBar(bar, own, y, width))
      y += BAR
    }
    y += GAP
    return parts.join('\n')
  })
  return [
    `<text class="heading" x="16" y="${top + 16}">${escaped(title)}</text>`,
    ...drawn,
    ...(limit === undefined ? [] : [drawLimit(limit, LABELS + width(limit.value), top + HEAD - 16, y - 4)]),
  ].join('\n')
}

function drawBar(bar: PanelBar, own: boolean, y: number, width: (value: number) => number): string {
  const classes = `${own ? 'own' : 'peer'}${bar.before === true ? ' before' : ''}`
  const long = width(bar.value)
  return (
    `<rect class="${classes}" x="${LABELS}" y="${y}" width="${long}" height="${BAR - 2}" rx="2"/>\n` +
    `<text class="small" x="${LABELS + long + 8}" y="${y + 11}">${escaped(bar.text ?? figure(bar.value))}</text>`
  )
}

function drawLimit({ text }: { text: string }, x: number, top: number, bottom: number): string {
  return `<line class="limit" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/>
<text class="note" x="${x}" y="${top - 4}" text-anchor="middle">${escaped(text)}</text>`
}
