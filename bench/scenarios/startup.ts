import { mkdtemp } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Setting } from '../contender.ts'
import { gateway, startGateway } from '../peers/gateway.ts'
import { residentBytes } from '../proc.ts'
import { freePort, type Started, start } from '../process.ts'
import { figureOf, mebibytes, type Result, ratioOf, type Sample, withRange } from '../result.ts'
import { type Run, wanted } from '../run.ts'

const EMPTY = fileURLToPath(new URL('../peers/empty/server.js', import.meta.url))
const STARTS = 10
const IDLE_STARTS = 3
const IDLE_AFTER = 2_000
const START_LIMIT = 15_000

type Subject = { name: string; label: string; launch: (setting: Setting, port: number) => Promise<Started> }

/** From the start of the process to its first answer, and what it holds when it has nothing to do. */
export async function startup(run: Run): Promise<Result | null> {
  const [own] = wanted(run, [gateway(run)])
  const reason = own === undefined ? 'not asked for' : await own.missing()
  if (reason !== null) {
    run.say(`startup is left out: ${reason}`)
    return null
  }
  const subjects: Subject[] = [
    {
      name: 'gateway',
      label: `nyro-gateway, from ${run.sources ? 'its sources' : 'its bundle'}, one worker`,
      launch: (setting, port) => startGateway(run, setting, port),
    },
    { name: 'empty', label: 'Node, empty HTTP server', launch: startEmpty },
  ]
  const samples: Sample[] = []
  // The first start of each only fills the page cache.
  for (let round = 0; round <= STARTS; round++) {
    for (const subject of subjects) {
      const figures = await oneStart(subject, run, round > 0 && round <= IDLE_STARTS)
      if (round > 0) samples.push({ entry: subject.name, round, figures })
      run.say(`start ${round}/${STARTS}, ${subject.name}: ${figures.milliseconds!.toFixed(0)} ms`)
    }
  }
  return result(subjects, samples)
}

async function oneStart(subject: Subject, run: Run, rest: boolean): Promise<Record<string, number>> {
  const directory = await mkdtemp(join(run.directory, 'start-'))
  const [port, upstreamPort] = [await freePort(), await freePort()]
  const begin = performance.now()
  const started = await subject.launch({ directory, upstreamPort, cores: run.cores }, port)
  while (!(await answered(port))) {
    if (started.hasExited() || performance.now() - begin > START_LIMIT) {
      throw new Error(`${subject.name} did not answer:\n${started.complaint()}`)
    }
    await delay(1)
  }
  const figures: Record<string, number> = { milliseconds: performance.now() - begin }
  if (rest) {
    await delay(IDLE_AFTER)
    figures.idleMegabytes = residentBytes(started.pid) / 1e6
  }
  await started.stop()
  return figures
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

async function startEmpty({ directory, cores }: Setting, port: number): Promise<Started> {
  return start({
    name: 'empty',
    directory,
    core: cores.measured,
    command: [process.execPath, EMPTY],
    env: { PORT: String(port) },
  })
}

function result(subjects: Subject[], samples: Sample[]): Result {
  const ratio = ratioOf(samples, 'gateway', 'empty', 'milliseconds')!
  const took = (name: string) => figureOf(samples, name, 'milliseconds')!
  return {
    scenario: 'startup',
    title: 'From the start of the process to the first answer, and memory at rest',
    table: {
      columns: ['', 'ms to first answer', 'idle RSS MiB', 'gateway / this'],
      rows: subjects.map(({ name, label }) => [
        label,
        withRange(took(name), 0),
        mebibytes(figureOf(samples, name, 'idleMegabytes')!.median * 1e6),
        name === 'gateway' ? '' : withRange(ratio, 2),
      ]),
    },
    notes: [
      `Median of ${STARTS} starts in turns, least..most in brackets; /health is asked every millisecond from the spawn on.`,
      `Idle memory: resident, ${IDLE_AFTER / 1000} s after the first answer, nothing but that one request served.`,
    ],
    faults: [],
    chart: {
      title: 'Start to first answer',
      unit: 'ms',
      bars: subjects.map(({ name, label }) => {
        const { median, least, most } = took(name)
        return { label, value: median, low: least, high: most, own: name === 'gateway' }
      }),
    },
    samples,
  }
}
