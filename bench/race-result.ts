import type { Entry, RaceOutcome } from './race.ts'
import { figureOf, mebibytes, percent, type Result, ratioOf, type Sample, withRange } from './result.ts'
import type { Spread } from './statistics.ts'

/** Above this share of the measured core, what others did is part of the figures. */
const QUIET = 0.05
/** Above this one, the load was the limit. */
const SATURATED = 0.97

export type RaceText = {
  scenario: string
  title: string
  notes: string[]
  /** The entry that the last column compares with. */
  reference: string
  /** The last column gives each entry over the reference, not the reference over each. */
  overReference?: boolean
}

/** Medians over the rounds with their spread, and ratios formed round by round. */
export function raceResult(text: RaceText, entries: Entry[], { samples, faults }: RaceOutcome): Result {
  const finishers = entries.filter(({ name }) => samples.some(({ entry }) => entry === name))
  const { scenario, title, reference, overReference = false } = text
  const referenceLabel = reference === 'gateway' ? 'gateway' : 'the first'
  const inBytes = samples.some(({ figures }) => figures.bytesPerCpuSecond !== undefined)
  const cell = (name: string, figure: string, show: (found: Spread) => string): string => {
    const found = figureOf(samples, name, figure)
    return found === null ? '' : show(found)
  }
  const milliseconds = ({ median }: Spread): string => (median / 1000).toFixed(2)
  return {
    scenario,
    title,
    table: {
      columns: [
        '',
        'CPU µs/request',
        ...(inBytes ? ['MB/s per core'] : []),
        'requests/s',
        'p50 ms',
        'p99 ms',
        'RSS MiB',
        overReference ? `CPU / ${referenceLabel}` : `${referenceLabel} CPU / this`,
      ],
      rows: finishers.map(({ name, label, over = reference }) => {
        const ratio = overReference
          ? ratioOf(samples, name, over, 'cpu')
          : ratioOf(samples, reference, name, 'cpu')
        return [
          label,
          cell(name, 'cpu', found => withRange(found, 1)),
          ...(inBytes ? [cell(name, 'bytesPerCpuSecond', ({ median }) => (median / 1e6).toFixed(0))] : []),
          cell(name, 'perSecond', ({ median }) => median.toFixed(0)),
          cell(name, 'p50', milliseconds),
          cell(name, 'p99', milliseconds),
          cell(name, 'residentBytes', ({ median }) => mebibytes(median)),
          ratio === null || name === reference ? '' : withRange(ratio, 2),
        ]
      }),
    },
    notes: [...text.notes, ...disturbances(samples)],
    faults,
    chart: {
      title: 'CPU per request',
      unit: 'µs',
      bars: finishers.flatMap(({ name, label }) => {
        const cpu = figureOf(samples, name, 'cpu')
        return cpu === null
          ? []
          : [{ label, value: cpu.median, low: cpu.least, high: cpu.most, own: name === reference }]
      }),
    },
    samples,
  }
}

/** What a reader must know before trusting a figure. */
function disturbances(samples: Sample[]): string[] {
  if (samples.length === 0) return []
  const foreign = Math.max(...samples.map(({ figures }) => figures.foreign ?? 0))
  const saturated = new Set(
    samples.filter(({ figures }) => (figures.loadBusy ?? 0) > SATURATED).map(({ entry }) => entry),
  )
  return [
    `Others used at most ${percent(foreign)} of the measured core during a turn.` +
      (foreign > QUIET ? ' That is too much for a fair race: repeat it when the machine is quiet.' : ''),
    ...(saturated.size === 0
      ? []
      : [
          `The core of the load was full, with its own work or that of others, while it drove ${[...saturated].join(', ')}: there, requests/s is a lower bound ` +
            'and the latency includes waiting for the load itself.',
        ]),
  ]
}
