import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Setting } from '../contender.ts'
import type { Cores } from '../cores.ts'
import { type GatewayChoice, startGateway } from '../peers/gateway.ts'
import { residentBytes } from '../proc.ts'
import { freePort, type Started, start } from '../process.ts'
import { mebibytes, type Result } from '../result.ts'
import { pairwiseRatio, spread } from '../statistics.ts'

const EMPTY = fileURLToPath(new URL('../peers/empty/server.js', import.meta.url))
const STARTS = 10
const IDLE_STARTS = 3
const IDLE_AFTER = 2_000
const START_LIMIT = 15_000
const RATIO_LIMIT = 4
const IDLE_LIMIT = 90

export type StartupPlan = {
  choice: GatewayChoice
  directory: string
  cores: Cores
  say: (line: string) => void
}

type Subject = { name: string; label: string; launch: (setting: Setting, port: number) => Started }

/** From the start of the process to its first answer, and what it holds when it has nothing to do. */
export async function startup(plan: StartupPlan): Promise<Result> {
  const subjects: Subject[] = [
    {
      name: 'gateway',
      label: `nyro-gateway, from ${plan.choice.sources ? 'its sources' : 'its bundle'}`,
      launch: (setting, port) => startGateway(plan.choice, setting, port),
    },
    { name: 'empty', label: 'Node, empty HTTP server', launch: startEmpty },
  ]
  const milliseconds: Record<string, number[]> = { gateway: [], empty: [] }
  const idle: Record<string, number[]> = { gateway: [], empty: [] }
  // The first start of each only fills the page cache.
  for (let turn = 0; turn <= STARTS; turn++) {
    for (const subject of subjects) {
      const took = await oneStart(subject, plan, turn < IDLE_STARTS ? idle[subject.name]! : undefined)
      if (turn > 0) milliseconds[subject.name]!.push(took)
    }
    plan.say(
      `start ${turn}/${STARTS}: ${subjects.map(({ name }) => `${name} ${milliseconds[name]!.at(-1)?.toFixed(0) ?? 'warm-up'}`).join(', ')}`,
    )
  }
  return result(subjects, milliseconds, idle)
}

async function oneStart(subject: Subject, plan: StartupPlan, idle: number[] | undefined): Promise<number> {
  const directory = await mkdtemp(join(plan.directory, 'start-'))
  const [port, upstreamPort] = [await freePort(), await freePort()]
  const begin = performance.now()
  const started = subject.launch({ directory, upstreamPort, cores: plan.cores }, port)
  while (!(await answered(port))) {
    if (started.hasExited() || performance.now() - begin > START_LIMIT) {
      throw new Error(`${subject.name} did not answer:\n${started.complaint()}`)
    }
    await delay(1)
  }
  const took = performance.now() - begin
  if (idle !== undefined) {
    await delay(IDLE_AFTER)
    idle.push(residentBytes(started.pid))
  }
  await started.stop()
  return took
}

/** Whether /health is answered with 200 now. A raw socket, so that the question costs next to nothing. */
function answered(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () =>
      socket.write('GET /health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n'),
    )
    socket.once('data', head => {
      resolve(head.toString('latin1').startsWith('HTTP/1.1 200 '))
      socket.destroy()
    })
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
}

function startEmpty({ directory, cores }: Setting, port: number): Started {
  return start({
    name: 'empty',
    directory,
    core: cores.measured,
    command: [process.execPath, EMPTY],
    env: { PORT: String(port) },
  })
}

function result(
  subjects: Subject[],
  milliseconds: Record<string, number[]>,
  idle: Record<string, number[]>,
): Result {
  const ratio = pairwiseRatio(milliseconds.gateway!, milliseconds.empty!)
  const lines = subjects.map(({ name, label }) => ({
    name,
    label,
    took: spread(milliseconds[name]!),
    idle: spread(idle[name]!),
  }))
  return {
    scenario: 'startup',
    title: 'From the start of the process to the first answer, and memory at rest',
    table: {
      columns: ['', 'ms to first answer', 'idle RSS MiB', 'gateway / this'],
      rows: lines.map(({ name, label, took, idle }) => [
        label,
        `${took.median.toFixed(0)} (${took.least.toFixed(0)}..${took.most.toFixed(0)})`,
        mebibytes(idle.median),
        name === 'gateway'
          ? ''
          : `${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)}..${ratio.most.toFixed(2)})`,
      ]),
    },
    notes: [
      `Median of ${STARTS} starts in turns, least..most in brackets; /health is asked every millisecond from the spawn on.`,
      `Idle memory: resident, ${IDLE_AFTER / 1000} s after the first answer, nothing but that one request served.`,
    ],
    targets: [
      {
        what: 'start to first answer, gateway / empty Node server',
        value: ratio.median,
        limit: RATIO_LIMIT,
        unit: '×',
      },
      {
        what: 'idle memory of the gateway',
        // In MB, as the target says: the stricter reading of the two.
        value: spread(idle.gateway!).median / 1e6,
        limit: IDLE_LIMIT,
        unit: 'MB',
      },
    ],
    faults: [],
    chart: {
      title: 'Start to first answer',
      unit: 'ms',
      bars: lines.map(({ name, label, took }) => ({
        label,
        value: took.median,
        low: took.least,
        high: took.most,
        own: name === 'gateway',
      })),
    },
    data: { milliseconds, idleBytes: idle },
  }
}
