import type { Contender, Running } from '../contender.ts'
import { PEERS, present } from '../field.ts'
import { generate } from '../load/generate.ts'
import type { Outcome } from '../load/plan.ts'
import { wrk } from '../load/wrk.ts'
import { gateway } from '../peers/gateway.ts'
import { enter } from '../race.ts'
import { figureOf, firstLine, type Result, type Sample } from '../result.ts'
import { type Run, wanted } from '../run.ts'
import { ANSWER, PATHS, type Service, startService } from '../upstream/service.ts'

const CONNECTIONS = 64
const WARM_UP_SECONDS = 1
const LOADS = [50, 80] as const
const FIELD = ['haproxy-log', 'nginx', 'nginx-njs', 'fastify-log']
const QUANTILES = ['p50', 'p99', 'p999'] as const
/** Below this difference, in microseconds, two latencies are the same here: the generator's clock ticks every 100 µs. */
const RESOLUTION = 10

type Entry = { contender: Contender; running: Running; capacity: number }

/**
 * Latency at a fixed rate. Requests are sent by the clock, whether earlier ones were answered or not, and count from the
 * planned time, so that a stall counts for all that it held up. What the contender adds is the difference to the
 * upstream asked directly, at the same rate, right before.
 */
export async function latency(run: Run): Promise<Result | null> {
  const candidates = [gateway(run), ...PEERS.filter(({ name }) => FIELD.includes(name))]
  const { contenders, leftOut } = await present(wanted(run, candidates))
  leftOut.forEach(run.say)
  if (contenders.length === 0) return null
  const upstream = await startService(run.directory, run.cores.load)
  const faults = new Map<string, string>()
  const field: Entry[] = []
  for (const contender of contenders) {
    try {
      const running = await enter(contender, run, upstream)
      field.push({ contender, running, capacity: await capacityOf(running, run) })
    } catch (error) {
      faults.set(contender.name, firstLine(error))
    }
  }
  const samples: Sample[] = []
  for (let round = 1; round <= run.rounds; round++) {
    for (const { contender, running, capacity } of round % 2 === 1 ? field : field.toReversed()) {
      if (faults.has(contender.name)) continue
      try {
        const figures = await takeTurn(running, capacity, upstream, run)
        samples.push({ entry: contender.name, round, figures })
        run.say(
          `round ${round}/${run.rounds}, ${contender.name}: adds ${figures['added p50 at 50 %']} µs (p50) and ` +
            `${figures['added p99 at 50 %']} µs (p99) at half of ${capacity.toFixed(0)} requests/s`,
        )
      } catch (error) {
        faults.set(contender.name, firstLine(error))
      }
    }
  }
  await Promise.all(field.map(({ running }) => running.process.stop()))
  await upstream.process.stop()
  const finishers = field.map(({ contender }) => contender).filter(({ name }) => !faults.has(name))
  return result(
    finishers,
    samples.filter(({ entry }) => !faults.has(entry)),
    [...faults].map(([name, fault]) => `${name} left: ${fault}`),
    leftOut,
  )
}

/** Requests/s with all connections busy, after a warm-up. */
async function capacityOf({ port }: Running, { warmUp, seconds, cores }: Run): Promise<number> {
  const load = {
    kind: 'wrk',
    connections: CONNECTIONS,
    question: { method: 'GET', path: PATHS.small, token: true },
    expected: { status: 200, body: ANSWER },
  } as const
  await wrk(load, port, warmUp, cores.load)
  const seen = await wrk(load, port, seconds, cores.load)
  return seen.requests / seen.seconds
}

async function takeTurn(
  running: Running,
  capacity: number,
  upstream: Service,
  run: Run,
): Promise<Record<string, number>> {
  const figures: Record<string, number> = { capacity }
  for (const percent of LOADS) {
    const perSecond = Math.max(1, Math.floor((capacity * percent) / 100))
    const direct = await fixedRate(upstream.port, perSecond, run.seconds)
    const through = await fixedRate(running.port, perSecond, run.seconds)
    for (const quantile of QUANTILES) {
      figures[`${quantile} at ${percent} %`] = through[quantile]
      figures[`direct ${quantile} at ${percent} %`] = direct[quantile]
      figures[`added ${quantile} at ${percent} %`] = Math.max(
        RESOLUTION,
        through[quantile] - direct[quantile],
      )
    }
    figures[`late p99 at ${percent} %`] = Math.max(direct.late, through.late)
    figures[`most at ${percent} %`] = through.most
  }
  return figures
}

async function fixedRate(port: number, perSecond: number, seconds: number): Promise<Outcome> {
  const outcome = await generate({
    port,
    connections: CONNECTIONS,
    path: PATHS.small,
    paths: 1,
    tokens: { kind: 'one' },
    first: 0,
    expected: { status: 200, body: ANSWER },
    pace: { kind: 'open', perSecond, seconds, warmUp: WARM_UP_SECONDS },
  })
  if (outcome.wrong > 0 || outcome.socketErrors > 0) {
    throw new Error(`${outcome.wrong} answers were wrong, ${outcome.socketErrors} connections failed`)
  }
  return outcome
}

function result(contenders: Contender[], samples: Sample[], faults: string[], leftOut: string[]): Result {
  const show = (name: string, figure: string): string => {
    const found = figureOf(samples, name, figure)
    return found === null ? '' : (found.median / 1000).toFixed(2)
  }
  return {
    scenario: 'latency',
    title: 'Latency at a fixed rate: small answers at 50 % and 80 % of what each contender can do, one core',
    table: {
      columns: [
        '',
        'requests/s at full load',
        ...LOADS.flatMap(load => [`added p50 ms, ${load} %`, `p99, ${load} %`, `p99.9, ${load} %`]),
      ],
      rows: contenders.map(({ name, label }) => [
        label,
        figureOf(samples, name, 'capacity')?.median.toFixed(0) ?? '',
        ...LOADS.flatMap(load => QUANTILES.map(quantile => show(name, `added ${quantile} at ${load} %`))),
      ]),
    },
    notes: [
      'Requests are sent by the clock over 64 connections, whether earlier ones were answered or not, and their latency counts from ' +
        'the planned time (coordinated omission does not hide a stall). Added: minus the same quantile of the upstream asked directly at the same rate; ' +
        `at least ${RESOLUTION / 1000} ms. Medians over the rounds.`,
      'Each contender is loaded with a share of its own capacity, so a faster one works at a higher rate.',
      'Load and upstream share a core: where they are busy, the latency includes waiting for them, directly as well as through a contender.',
      ...lateness(samples),
      ...leftOut,
    ],
    faults,
    chart: {
      title: 'Added latency at 50 % load, p99',
      unit: 'ms',
      bars: contenders.flatMap(contender => {
        const found = figureOf(samples, contender.name, 'added p99 at 50 %')
        if (found === null) return []
        const { median, least, most } = found
        return [
          {
            label: contender.label,
            value: median / 1000,
            low: least / 1000,
            high: most / 1000,
            own: contender.name === 'gateway',
          },
        ]
      }),
    },
    samples,
  }
}

/** The generator's own delay is part of every latency; directly and through a contender, but not to the same amount. */
function lateness(samples: Sample[]): string[] {
  const late = samples.flatMap(({ figures }) => LOADS.map(load => figures[`late p99 at ${load} %`] ?? 0))
  const worst = Math.max(0, ...late)
  if (worst < 1000) return []
  return [
    `The generator itself sent up to ${(worst / 1000).toFixed(1)} ms late (p99 of the worst turn): repeat it when the machine is quiet.`,
  ]
}
