import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Contender } from '../contender.ts'
import { present } from '../field.ts'
import type { ArrivalPlan, Arrivals } from '../load/arrivals.ts'
import { prepareProgram } from '../load/program.ts'
import { gateway } from '../peers/gateway.ts'
import { haproxyLimited } from '../peers/haproxy.ts'
import { nginxLimited } from '../peers/nginx.ts'
import { coresBusyMicroseconds, cpuMicroseconds } from '../proc.ts'
import { type Run, wanted } from '../run.ts'
import { inTurns } from '../turns.ts'
import { GAUGE_PATH, type Gauge, SLOTS } from '../upstream/limited-paths.ts'
import { startUpstream } from '../upstream/start.ts'
import { neighbourResult } from './noisy-neighbour-result.ts'

const ARRIVALS = new URL('../load/arrivals.ts', import.meta.url)

export const QUIET = { companies: 10, perSecond: 5 }
export const NOISY = { companies: 1, perSecond: 4000 }
/** Requests that the noisy company has under way at a time: what is due beyond that is not sent. */
const MOST_UNDER_WAY = 1000
/** Seconds of a phase for each second of a turn: a p99 needs a thousand requests, and there are 50 in a second. */
const LONGER = 7
/** Seconds that limits have to settle, for each second of a warm-up. */
const SETTLING = 2
const GRACE_SECONDS = 10
/** One round for so many of the other scenarios: one takes four minutes. */
const ROUNDS_FOR_ONE = 5

/** What a static limit gives a company: half of what the service can do. */
const STATIC = { perSecond: 100, burst: 20 }

export function neighbourField(run: Pick<Run, 'sources'>): Contender[] {
  const fair = gateway({ ...run, name: 'gateway', upstream: { fairQueue: true } })
  const unfair = gateway({ ...run, name: 'gateway-unfair', upstream: {} })
  return [
    { ...fair, label: 'nyro-gateway, fairQueue' },
    { ...unfair, label: 'nyro-gateway, fairness off' },
    nginxLimited(STATIC.perSecond, STATIC.burst),
    haproxyLimited(STATIC.perSecond, SLOTS),
  ]
}

/** Ten quiet companies at a service that can do only so much: alone, and beside one that asks for twenty times as much. */
export async function noisyNeighbour(run: Run) {
  const { contenders, leftOut } = await present(wanted(run, neighbourField(run)))
  leftOut.forEach(run.say)
  if (contenders.length === 0) return null
  let turns = 0
  const participants = contenders.map(contender => ({
    name: contender.name,
    turn: async () => {
      const directory = join(run.directory, `turn-${++turns}`)
      await mkdir(directory)
      return takeTurn(contender, { ...run, directory })
    },
    tell: ({ alone, beside, quietRefused, busyPercent, noisyPerSecond }: Record<string, number>) =>
      `p99 of the quiet ${alone!.toFixed(0)} ms alone, ${beside!.toFixed(0)} ms beside, ${quietRefused} refused; ` +
      `service busy ${busyPercent!.toFixed(1)} %; noisy ${noisyPerSecond!.toFixed(0)}/s`,
  }))
  const rounds = Math.ceil(run.rounds / ROUNDS_FOR_ONE)
  const outcome = await inTurns(participants, { ...run, rounds })
  return neighbourResult(contenders, outcome, leftOut)
}

/** A fresh service and a fresh contender: nothing is left of what others had waiting. */
async function takeTurn(contender: Contender, run: Run): Promise<Record<string, number>> {
  const upstream = await startUpstream(run, 'limited.ts')
  const running = await contender.start({ ...run, upstreamPort: upstream.port })
  try {
    const seconds = run.seconds * LONGER
    const settle = run.warmUp * SETTLING
    const alone = await (await quiet(running.port, run.warmUp, seconds)).go()
    const [few, many] = [
      await quiet(running.port, settle, seconds),
      await noisy(running.port, settle, seconds),
    ]
    const both = Promise.all([few.go(), many.go()])
    // A failure is told where the answers are awaited
    both.catch(() => undefined)
    await delay(settle * 1000)
    const watched = watchOthers(run)
    const cpu = cpuMicroseconds(running.process.pid)
    const before = await gauge(upstream.port)
    await delay(seconds * 1000)
    const after = await gauge(upstream.port)
    const cpuMicros = cpuMicroseconds(running.process.pid) - cpu
    const foreign = watched()
    const [beside, crowd] = await both
    return figures({ alone, beside, crowd, before, after, cpuMicros, foreign, seconds })
  } finally {
    await running.process.stop()
    await upstream.process.stop()
  }
}

type Seen = {
  alone: Arrivals
  beside: Arrivals
  crowd: Arrivals
  before: Gauge
  after: Gauge
  cpuMicros: number
  /** Share of the cores that neither the load nor what is measured used. */
  foreign: number
  seconds: number
}

/** Milliseconds, percent, and requests. */
function figures({
  alone,
  beside,
  crowd,
  before,
  after,
  cpuMicros,
  foreign,
  seconds,
}: Seen): Record<string, number> {
  if (alone.answered < alone.due) throw new Error(`${alone.due - alone.answered} quiet requests failed alone`)
  if (crowd.failed > crowd.due / 100) throw new Error(`${crowd.failed} noisy requests failed`)
  const elapsed = after.at - before.at
  return {
    quietDue: beside.due,
    aloneP50: alone.p50 / 1000,
    alone: alone.p99 / 1000,
    besideP50: beside.p50 / 1000,
    beside: beside.p99 / 1000,
    rise: beside.p99 / alone.p99,
    quietRefused: beside.due - beside.answered,
    quietRefusedPercent: (100 * (beside.due - beside.answered)) / beside.due,
    busyPercent: (100 * (after.slotTime - before.slotTime)) / (elapsed * SLOTS),
    insideAtEnd: after.waiting,
    noisyPerSecond: crowd.answered / seconds,
    noisyRefused: crowd.refused,
    noisyNotSent: crowd.notSent,
    noisyDue: crowd.due,
    cpuPercent: cpuMicros / (elapsed * 10),
    foreign,
    lateP99: Math.max(alone.late, beside.late) / 1000,
  }
}

/** Starts to watch the cores; the returned function tells what share of them others used since then. */
function watchOthers({ cores: { measured, load } }: Run): () => number {
  if (measured === null || load === null) return () => 0
  const cores = `${measured},${load}`
  const own = cpuMicroseconds(process.pid)
  const busy = coresBusyMicroseconds(cores)
  const begin = performance.now()
  return () => {
    const used = coresBusyMicroseconds(cores) - busy - (cpuMicroseconds(process.pid) - own)
    return Math.max(0, used / ((performance.now() - begin) * 1000 * 2))
  }
}

const quiet = (port: number, warmUp: number, seconds: number) =>
  arrivals({ ...QUIET, first: 1, most: 10_000, port, warmUp, seconds, graceSeconds: GRACE_SECONDS })

const noisy = (port: number, warmUp: number, seconds: number) =>
  arrivals({ ...NOISY, first: 0, most: MOST_UNDER_WAY, port, warmUp, seconds, graceSeconds: GRACE_SECONDS })

function arrivals(plan: ArrivalPlan) {
  return prepareProgram<ArrivalPlan, Arrivals>(ARRIVALS, plan)
}

async function gauge(port: number): Promise<Gauge> {
  const answer = await fetch(`http://127.0.0.1:${port}${GAUGE_PATH}`)
  return (await answer.json()) as Gauge
}
