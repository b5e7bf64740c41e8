import type { Contender } from '../contender.ts'
import { mebibytes, percent, type Result, type Target } from '../result.ts'
import { pairwiseRatio, type Spread, spread } from '../statistics.ts'
import type { SmallOutcome, Turn } from './small.ts'

const TARGETS: Record<string, { limit: number; what: string }> = {
  'haproxy-log': { limit: 1.5, what: 'CPU per request, gateway / HAProxy with its log on' },
  fastify: { limit: 0.35, what: 'CPU per request, gateway with its log on / Fastify without one' },
  'fastify-log': { limit: 0.35, what: 'CPU per request, gateway / Fastify, each with its log on' },
}

/** Above this share of the measured core, what others did is part of the figures. */
const QUIET = 0.05

type Line = {
  contender: Contender
  cpu: Spread
  rate: Spread
  p50: Spread
  p99: Spread
  resident: Spread
  /** CPU per request of the gateway over this one; absent where the gateway did not run. */
  ratio: Spread | undefined
}

/** Medians over the rounds with their spread, and ratios formed round by round. */
export function smallResult(contenders: Contender[], { turns, faults }: SmallOutcome): Result {
  const own = turnsOf(turns, 'gateway').map(turn => turn.cpuPerRequest)
  const finishers = contenders.filter(({ name }) => turns.some(turn => turn.contender === name))
  const lines = finishers.map(contender => line(contender, turnsOf(turns, contender.name), own))
  return {
    scenario: 'small',
    title: 'Small answers: GET with an HS256 token, 89-byte JSON answer, 64 keep-alive connections, one core',
    table: {
      columns: ['', 'CPU µs/request', 'requests/s', 'p50 ms', 'p99 ms', 'RSS MiB', 'gateway CPU / this'],
      rows: lines.map(({ contender, cpu, rate, p50, p99, resident, ratio }) => [
        contender.label,
        withRange(cpu, 1),
        rate.median.toFixed(0),
        p50.median.toFixed(2),
        p99.median.toFixed(2),
        mebibytes(resident.median),
        ratio === undefined || contender.name === 'gateway' ? '' : withRange(ratio, 2),
      ]),
    },
    notes: [
      'Medians over the rounds, least..most in brackets. Contenders took turns in every round; ratios are formed round by round.',
      'CPU is user and system time of the whole process tree over the requests that wrk counted. Latency is seen under the ' +
        'full load of all connections, so it follows from the throughput and says little about an idle system.',
      'Status and body of every answer were compared, and requests were counted at the upstream and in the logs. ' +
        'The gateway keeps tokens that it verified until they expire, and the load sends one token.',
      ...disturbances(turns),
    ],
    targets: lines.flatMap(target),
    faults,
    chart: {
      title: 'CPU per request',
      unit: 'µs',
      bars: lines.map(({ contender, cpu }) => ({
        label: contender.label,
        value: cpu.median,
        low: cpu.least,
        high: cpu.most,
        own: contender.name === 'gateway',
      })),
    },
    data: turns,
  }
}

function line(contender: Contender, turns: Turn[], own: number[]): Line {
  const of = (figure: (turn: Turn) => number): Spread => spread(turns.map(figure))
  return {
    contender,
    cpu: of(turn => turn.cpuPerRequest),
    rate: of(turn => turn.requestsPerSecond),
    p50: of(turn => turn.p50),
    p99: of(turn => turn.p99),
    resident: of(turn => turn.residentBytes),
    ratio:
      own.length === 0
        ? undefined
        : pairwiseRatio(
            own,
            turns.map(turn => turn.cpuPerRequest),
          ),
  }
}

function target({ contender, ratio }: Line): Target[] {
  const found = TARGETS[contender.name]
  if (found === undefined || ratio === undefined) return []
  return [{ ...found, value: ratio.median, unit: '×' }]
}

/** What a reader must know before trusting a figure. */
function disturbances(turns: Turn[]): string[] {
  const foreign = Math.max(...turns.map(turn => turn.foreign))
  const saturated = new Set(turns.filter(turn => turn.loadBusy > 0.97).map(turn => turn.contender))
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

function turnsOf(turns: Turn[], name: string): Turn[] {
  return turns.filter(turn => turn.contender === name).toSorted((a, b) => a.round - b.round)
}

function withRange({ median, least, most }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${least.toFixed(digits)}..${most.toFixed(digits)})`
}
