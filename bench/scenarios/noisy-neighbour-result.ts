/** What the scenario of the noisy neighbour found, for people. */

import type { Contender } from '../contender.ts'
import type { Panel, PanelBar } from '../panels.ts'
import { figureOf, percent, type Result } from '../result.ts'
import type { Turns } from '../turns.ts'
import { CAPACITY, MEAN_MILLISECONDS, SLOTS } from '../upstream/limited-paths.ts'

/** What one request in a hundred takes longer than: serviceTime of `load/random.ts`. */
const SLOW_MILLISECONDS = 565
/** Above this, the load's own delays are a part of the latencies that counts. */
const LATE_MILLISECONDS = 5
/** Above this, what others did is. */
const QUIET = 0.05

export function neighbourResult(contenders: Contender[], turns: Turns, leftOut: string[]): Result {
  const { samples, faults } = turns
  const finishers = contenders.filter(({ name }) => samples.some(({ entry }) => entry === name))
  const of = (name: string, figure: string): number => figureOf(samples, name, figure)!.median
  const rows = (bars: (name: string) => PanelBar[]): Panel['rows'] =>
    finishers.map(({ name, label }) => ({
      label: label.split(':')[0]!,
      own: name === 'gateway',
      bars: bars(name),
    }))
  const rise = (name: string): string => {
    const more = (of(name, 'rise') - 1) * 100
    return `${more < 0 ? '' : '+'}${more.toFixed(more < 100 ? 1 : 0)} %`
  }
  return {
    scenario: 'noisy-neighbour',
    title: `A noisy neighbour: a service of ${CAPACITY} requests/s, ten companies at 5/s each, one at 4,000/s`,
    table: {
      columns: [
        '',
        'quiet p50 ms, alone',
        'beside',
        'quiet p99 ms, alone',
        'beside',
        'p99 rises by',
        'quiet refused',
        'service busy',
        'noisy answered/s',
        'CPU of a core',
      ],
      rows: finishers.map(({ name, label }) => [
        label,
        ...['aloneP50', 'besideP50', 'alone', 'beside'].map(figure => of(name, figure).toFixed(0)),
        rise(name),
        `${of(name, 'quietRefusedPercent').toFixed(1)} %`,
        `${of(name, 'busyPercent').toFixed(1)} %`,
        of(name, 'noisyPerSecond').toFixed(0),
        `${of(name, 'cpuPercent').toFixed(0)} %`,
      ]),
    },
    notes: [
      `The service works on ${SLOTS} requests at a time, which take ${MEAN_MILLISECONDS} ms in the mean and one in a hundred over ${SLOW_MILLISECONDS} ms (log-normal); more than that wait inside it in ` +
        'the order in which they came. Requests come at random (Poisson), whether earlier ones were answered or not, and count from the time at which ' +
        'they were due. When each comes and how long it takes is the same alone and beside the noisy one, and for every contender.',
      'Busy is the share of time in which the slots of the service were taken. Measured once the noisy company had been there for ' +
        'a while, so that limits had settled. It has at most 1,000 requests under way: what is due beyond that it does not send.',
      'The gateway with `fairQueue` is told neither what the service can do nor how many companies there are. nginx and HAProxy are: ' +
        'each company may have half of what the service can do, and HAProxy sends it no more at a time than it works on. ' +
        'A higher limit leaves less idle, until it is too high for two noisy companies. nginx takes the company from a header, unverified.',
      ...disturbances(turns),
      ...leftOut,
    ],
    faults,
    chart: {
      title: 'Ten quiet companies beside one that asks for twenty times what the service can do',
      panels: [
        {
          title: 'p99 of the quiet companies, ms: alone (pale), and beside the noisy one',
          rows: rows(name => [
            { value: of(name, 'alone'), before: true },
            { value: of(name, 'beside'), text: `${of(name, 'beside').toFixed(0)} (${rise(name)})` },
          ]),
        },
        {
          title: 'Requests of the quiet companies that were refused or lost, %',
          rows: rows(name => [{ value: of(name, 'quietRefusedPercent') }]),
        },
        {
          title: 'How busy the service was, %: more is better',
          limit: { value: 100, text: '100' },
          rows: rows(name => [{ value: of(name, 'busyPercent') }]),
        },
      ],
    },
    samples,
  }
}

function disturbances({ samples }: Turns): string[] {
  const worst = (figure: string): number => Math.max(0, ...samples.map(({ figures }) => figures[figure] ?? 0))
  const late = worst('lateP99')
  return [
    `Others used at most ${percent(worst('foreign'))} of the two cores while it was measured.` +
      (worst('foreign') > QUIET || late > LATE_MILLISECONDS
        ? ` The load itself sent up to ${late.toFixed(1)} ms late (p99 of the worst phase): that is part of the latencies, as are stalls of what is ` +
          'measured. Repeat it when the machine is quiet.'
        : ''),
  ]
}
