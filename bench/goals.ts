import { figureOf, type Result, ratioOf } from './result.ts'

/** What is to be reached. A bound holds for the median over the rounds of one run. */
export type Goal = {
  scenario: string
  what: string
  entry: string
  figure: string
  /** The figure is taken over the same figure of this entry. */
  against?: string
  bound: 'at most' | 'at least'
  limit: number
  unit: string
}

type Race = Pick<Goal, 'scenario' | 'against' | 'limit'> & { what: string; entry?: string }

const cpu = ({ entry = 'gateway', ...race }: Race): Goal => ({
  ...race,
  entry,
  figure: 'cpu',
  bound: 'at most',
  unit: '×',
})

/** One core, everything on that is on by default, access log on. Ratios within one run: machines differ, ratios less. */
export const GOALS: readonly Goal[] = [
  cpu({
    scenario: 'small',
    what: 'CPU, over HAProxy jwt_verify with its log',
    against: 'haproxy-log',
    limit: 1.0,
  }),
  cpu({ scenario: 'small', what: 'CPU, over nginx + njs', against: 'nginx-njs', limit: 0.7 }),
  cpu({ scenario: 'small', what: 'CPU, over Fastify', against: 'fastify', limit: 0.25 }),
  cpu({ scenario: 'small', what: 'CPU, over plain nginx', against: 'nginx', limit: 2.6 }),
  cpu({
    scenario: 'refused',
    what: 'CPU of a 401, over a bare node:http answer',
    against: 'hello',
    limit: 1.4,
  }),
  cpu({ scenario: 'post-10k', what: 'CPU, over HAProxy', against: 'haproxy-log', limit: 1.2 }),
  cpu({ scenario: 'answer-10k', what: 'CPU, over HAProxy', against: 'haproxy-log', limit: 1.2 }),
  {
    scenario: 'answer-1m',
    what: 'bytes/s per core, over plain nginx',
    entry: 'gateway',
    against: 'nginx',
    figure: 'bytesPerCpuSecond',
    bound: 'at least',
    limit: 0.8,
    unit: '×',
  },
  ...(['p50', 'p99'] as const).map(
    (figure): Goal => ({
      scenario: 'latency',
      what: `latency added at 50 % load, ${figure}, over HAProxy`,
      entry: 'gateway',
      against: 'haproxy-log',
      figure: `added ${figure} at 50 %`,
      bound: 'at most',
      limit: 1.2,
      unit: '×',
    }),
  ),
  {
    scenario: 'idle',
    what: 'memory of an idle keep-alive connection',
    entry: 'gateway',
    figure: 'bytesPerConnection',
    bound: 'at most',
    limit: 8192,
    unit: 'bytes',
  },
  {
    scenario: 'first-event',
    what: 'first event of a streamed answer, p50, over nginx without buffering',
    entry: 'gateway',
    against: 'nginx-unbuffered',
    figure: 'firstP50',
    bound: 'at most',
    limit: 1.2,
    unit: '×',
  },
  {
    scenario: 'first-event',
    what: 'from the upstream to the client, any event, p99',
    entry: 'gateway',
    figure: 'eventP99Milliseconds',
    bound: 'at most',
    limit: 5,
    unit: 'ms',
  },
  {
    scenario: 'echo',
    what: 'round trip over a WebSocket, p50, over HAProxy',
    entry: 'gateway',
    against: 'haproxy-log',
    figure: 'p50',
    bound: 'at most',
    limit: 1.2,
    unit: '×',
  },
  ...(['sockets', 'events'] as const).map(
    (kind): Goal => ({
      scenario: 'sockets',
      what: `memory of an idle ${kind === 'sockets' ? 'WebSocket' : 'event stream'}`,
      entry: `gateway-${kind}`,
      figure: 'bytesPerConnection',
      bound: 'at most',
      limit: 12_288,
      unit: 'bytes',
    }),
  ),
  {
    scenario: 'http2',
    what: 'requests/s over HTTP/2, over those over HTTP/1.1, both over TLS',
    entry: 'h2',
    against: 'h1',
    figure: 'perSecond',
    bound: 'at least',
    limit: 0.6,
    unit: '×',
  },
  cpu({ scenario: 'workers', what: 'CPU, two workers over one', entry: 'two', against: 'one', limit: 1.1 }),
  cpu({
    scenario: 'limits',
    what: 'CPU, three local rules over none',
    entry: 'rules',
    against: 'none',
    limit: 1.04,
  }),
  cpu({
    scenario: 'limits',
    what: 'CPU, a fair queue that is not saturated over none',
    entry: 'queue',
    against: 'none',
    limit: 1.02,
  }),
  cpu({
    scenario: 'limits',
    what: 'CPU, three rules from warm leases of Redis over none',
    entry: 'redis',
    against: 'redis-none',
    limit: 1.06,
  }),
  cpu({
    scenario: 'many',
    what: 'CPU, 10,000 routes over one',
    entry: 'routes',
    against: 'one',
    limit: 1.05,
  }),
  cpu({
    scenario: 'many',
    what: 'CPU, 10,000 routes and 1,000 companies at a time, over one of each',
    entry: 'routes-active',
    against: 'one',
    limit: 1.05,
  }),
  cpu({
    scenario: 'many',
    what: 'CPU, 10,000 routes and 100,000 companies in turn, over one of each',
    entry: 'routes-companies',
    against: 'one',
    limit: 1.05,
  }),
  ...(['forged-hs256', 'forged-es256', 'garbage'] as const).map(entry =>
    cpu({
      scenario: 'tokens',
      what: `CPU of a 401, each with another ${entry.replace('-', ' ')} token, over one without`,
      entry,
      against: 'none',
      limit: 1.5,
    }),
  ),
  {
    scenario: 'noisy-neighbour',
    what: 'p99 of the quiet companies beside a noisy one, over their p99 alone',
    entry: 'gateway',
    figure: 'rise',
    bound: 'at most',
    limit: 1.1,
    unit: '×',
  },
  {
    scenario: 'noisy-neighbour',
    what: 'requests of the quiet companies that are refused',
    entry: 'gateway',
    figure: 'quietRefused',
    bound: 'at most',
    limit: 0,
    unit: 'requests',
  },
  {
    scenario: 'noisy-neighbour',
    what: 'how busy the service is',
    entry: 'gateway',
    figure: 'busyPercent',
    bound: 'at least',
    limit: 95,
    unit: '%',
  },
  {
    scenario: 'million',
    what: 'a decision when a million companies were seen, over one when a hundred were',
    entry: 'million-seen',
    against: 'hundred',
    figure: 'nanoseconds',
    bound: 'at most',
    limit: 1.3,
    unit: '×',
  },
  {
    scenario: 'million',
    what: 'the same, when 16,384 of the million ask in turn',
    entry: 'million',
    against: 'hundred',
    figure: 'nanoseconds',
    bound: 'at most',
    limit: 1.3,
    unit: '×',
  },
  {
    scenario: 'million',
    what: 'state of limits for a million companies',
    entry: 'million',
    figure: 'megabytes',
    bound: 'at most',
    limit: 200,
    unit: 'MB',
  },
  {
    scenario: 'million',
    what: 'the same, when all of them ask with three rules within a minute',
    entry: 'million',
    figure: 'minuteMegabytes',
    bound: 'at most',
    limit: 200,
    unit: 'MB',
  },
  {
    scenario: 'million',
    what: 'counters of them that are left when they have been idle',
    entry: 'million',
    figure: 'left',
    bound: 'at most',
    limit: 0,
    unit: 'counters',
  },
  {
    scenario: 'startup',
    what: 'start to first answer, over an empty Node server',
    entry: 'gateway',
    against: 'empty',
    figure: 'milliseconds',
    bound: 'at most',
    limit: 3,
    unit: '×',
  },
  {
    scenario: 'startup',
    what: 'idle memory, one worker',
    entry: 'gateway',
    figure: 'idleMegabytes',
    bound: 'at most',
    limit: 80,
    unit: 'MB',
  },
  {
    scenario: 'transfer',
    what: 'growth of memory while a large body passes, the worst case',
    entry: 'gateway',
    figure: 'worstGrowth',
    bound: 'at most',
    limit: 40,
    unit: 'MiB',
  },
]

export type Verdict = {
  goal: Goal
  /** Null: not measured. */
  value: number | null
  reached: boolean
}

/** The verdict on each goal whose scenario is among the results; without results, on all. */
export function judge(results: Result[], goals: readonly Goal[] = GOALS): Verdict[] {
  return goals.map(goal => {
    const result = results.find(({ scenario }) => scenario === goal.scenario)
    const value = result === undefined ? null : measured(result, goal)
    const reached = value !== null && (goal.bound === 'at most' ? value <= goal.limit : value >= goal.limit)
    return { goal, value, reached }
  })
}

/** "reached", or the figure that is missing. */
export function outcome({ goal, value, reached }: Verdict): string {
  if (value === null) return 'not measured'
  if (reached) return 'reached'
  return `missed by ${shortest(Math.abs(value - goal.limit))}${goal.unit === '×' ? '' : ' '}${goal.unit}`
}

/** The table of all verdicts. */
export function goalTable(verdicts: Verdict[]): { columns: string[]; rows: string[][] } {
  return {
    columns: ['scenario', 'figure', 'goal', 'measured', ''],
    rows: verdicts.map(verdict => {
      const { goal, value } = verdict
      return [
        goal.scenario,
        goal.what,
        `${goal.bound === 'at most' ? '≤' : '≥'} ${goal.limit} ${goal.unit}`,
        value === null ? '' : `${shortest(value)} ${goal.unit}`,
        outcome(verdict),
      ]
    }),
  }
}

function measured({ samples }: Result, { entry, against, figure }: Goal): number | null {
  const found =
    against === undefined ? figureOf(samples, entry, figure) : ratioOf(samples, entry, against, figure)
  return found?.median ?? null
}

function shortest(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
