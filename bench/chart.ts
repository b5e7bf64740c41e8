export type Bar = {
  label: string
  value: number
  /** The least and the most of several measurements, drawn as a whisker. */
  low?: number
  high?: number
  /** The gateway itself, in its own colour. */
  own: boolean
}

export type Chart = {
  title: string
  unit: string
  bars: Bar[]
  /** Drawn as a line that the bars should not cross. */
  limit?: number
}

export const WIDTH = 760
const LABELS = 280
const FIGURES = 90
const ROW = 30
const TOP = 52

// Colours follow the reader's scheme, inside an <img> too: the style travels with the file.
export const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .peer { fill: #9aa4b2 } .own { fill: #2f6fde }
  .whisker { stroke: #1f2328; stroke-width: 1.5 } .limit { stroke: #d1442f; stroke-dasharray: 4 3 }
  .note { fill: #d1442f; font-size: 11px }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .peer { fill: #6b7685 } .own { fill: #5b94f5 }
    .whisker { stroke: #e6edf3 } .limit { stroke: #ff7b66 } .note { fill: #ff7b66 }
  }`

/** Horizontal bars as an SVG document; less is better. */
export function barChart({ title, unit, bars, limit }: Chart): string {
  const height = TOP + bars.length * ROW + 16
  const most = Math.max(limit ?? 0, ...bars.map(bar => bar.high ?? bar.value), Number.MIN_VALUE)
  const x = (value: number): number => round(LABELS + (value / most) * (WIDTH - LABELS - FIGURES))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>${escaped(title)}</title>
<style>${STYLE}
</style>
<text class="title" x="16" y="24">${escaped(title)} (${escaped(unit)}, less is better)</text>
${bars.map((bar, row) => drawBar(bar, TOP + row * ROW, x)).join('\n')}
${limit === undefined ? '' : drawLimit(limit, unit, x(limit), height)}
</svg>
`
}

function drawBar(bar: Bar, y: number, x: (value: number) => number): string {
  const end = x(bar.high ?? bar.value)
  return `<text x="${LABELS - 10}" y="${y + 15}" text-anchor="end">${escaped(bar.label)}</text>
<rect class="${bar.own ? 'own' : 'peer'}" x="${LABELS}" y="${y}" width="${round(x(bar.value) - LABELS)}" height="20" rx="2"/>
${drawWhisker(bar, y + 10, x)}<text x="${end + 8}" y="${y + 15}">${figure(bar.value)}</text>`
}

function drawWhisker({ low, high }: Bar, y: number, x: (value: number) => number): string {
  if (low === undefined || high === undefined) return ''
  return `<path class="whisker" d="M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 4}v8M${x(high)} ${y - 4}v8"/>\n`
}

function drawLimit(limit: number, unit: string, x: number, height: number): string {
  return `<line class="limit" x1="${x}" x2="${x}" y1="${TOP - 8}" y2="${height - 10}"/>
<text class="note" x="${x}" y="${TOP - 12}" text-anchor="middle">target ${figure(limit)} ${escaped(unit)}</text>`
}

export function figure(value: number): string {
  return value < 100 ? String(Number(value.toFixed(1))) : Math.round(value).toLocaleString('en')
}

export function round(value: number): number {
  return Math.round(value * 10) / 10
}

export function escaped(text: string): string {
  return text.replace(/[&<>]/g, character => `&#${character.charCodeAt(0)};`)
}
