/**
 * Draws `docs/images/gcra.svg` from the code that it explains: `node scripts/draw-limits.ts`. What passes and what is refused
 * of one subject's requests, and how much of its burst is left meanwhile.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { LocalStore } from '../src/limits/local-store.ts'
import { compileRule, remaining } from '../src/limits/rules.ts'
import { Slots } from '../src/limits/slots.ts'
import { SharedCounters } from '../src/store/shared-counters.ts'

const START = 1_800_000_000_000
const [PER_SECOND, BURST, SPAN_MS] = [5, 3, 3_000]
const rule = compileRule(
  { name: 'r', limit: PER_SECOND, window: 1, burst: BURST, unit: 'requests', by: 'company', dryRun: false },
  'UTC',
)
const counters = SharedCounters.create({ capacity: 100, now: START })
const store = new LocalStore(counters, new Slots(counters, new Int32Array(new SharedArrayBuffer(4))))
const meter = store.meter(rule, 'company:acme')

const ARRIVALS = [
  100, 140, 180, 220, 260, 420, 500, 700, 760, 900, 1_800, 1_840, 1_880, 1_920, 2_100, 2_300, 2_500, 2_700,
  2_900,
]
const seen = ARRIVALS.map(at => ({ at, level: meter.take(1, START + at) as number }))

const [WIDTH, LEFT, RIGHT, TOP, BOTTOM] = [720, 70, 20, 30, 150]
const x = (ms: number): number => LEFT + (ms / SPAN_MS) * (WIDTH - LEFT - RIGHT)
const y = (left: number): number => BOTTOM - (left / BURST) * (BOTTOM - TOP)

/** What of the burst is there at a moment: it grows with time, and each request that passes takes one. */
const points: string[] = []
let left = BURST
let from = 0
for (const { at, level } of [...seen, { at: SPAN_MS, level: -1 }]) {
  const filledAt = from + ((BURST - left) * 1000) / PER_SECOND
  if (filledAt < at) points.push(`${x(filledAt)},${y(BURST)}`)
  left = Math.min(BURST, left + ((at - from) * PER_SECOND) / 1000)
  points.push(`${x(at)},${y(left)}`)
  if (level >= 0) {
    left = BURST - (level / 1000) * PER_SECOND
    points.push(`${x(at)},${y(left)}`)
  }
  from = at
}
const marks = seen.map(({ at, level }) =>
  level >= 0
    ? `<circle class="passed" cx="${x(at)}" cy="182" r="4"><title>${at} ms: ${remaining(rule, level)} left</title></circle>`
    : `<path class="refused" d="M${x(at) - 4} 178l8 8m0-8l-8 8"><title>${at} ms: wait ${-level} ms</title></path>`,
)
const seconds = [0, 1, 2, 3].map(s => `<text x="${x(s * 1000)}" y="216" text-anchor="middle">${s} s</text>`)
const levels = [0, 1, 2, 3].map(
  n =>
    `<path class="grid" d="M${LEFT} ${y(n)}H${WIDTH - RIGHT}"/><text x="${LEFT - 8}" y="${y(n) + 4}" text-anchor="end">${n}</text>`,
)

const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} 228" role="img" aria-label="A rate of ${PER_SECOND} per second with a burst of ${BURST}: ${seen.filter(({ level }) => level >= 0).length} of ${seen.length} requests pass">
<style>text{font:12px system-ui,sans-serif;fill:#57606a}.grid{stroke:#8c959f;stroke-opacity:.3;fill:none}.left{fill:none;stroke:#0969da;stroke-width:2}.passed{fill:#1a7f37}.refused{stroke:#cf222e;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#9198a1}.left{stroke:#4493f8}.passed{fill:#3fb950}.refused{stroke:#f85149}}</style>
${levels.join('\n')}
<text x="${LEFT}" y="18">what may come at once (burst ${BURST}, ${PER_SECOND} per second)</text>
<polyline class="left" points="${points.join(' ')}"/>
${marks.join('\n')}
<text x="${LEFT - 8}" y="186" text-anchor="end">requests</text>
${seconds.join('\n')}
</svg>
`
const images = fileURLToPath(new URL('../docs/images/', import.meta.url))
mkdirSync(images, { recursive: true })
writeFileSync(`${images}gcra.svg`, svg)
