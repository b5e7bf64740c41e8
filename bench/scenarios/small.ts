import { createReadStream, truncateSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Contender, Running } from '../contender.ts'
import { breaches } from '../contract.ts'
import type { Cores } from '../cores.ts'
import { coreBusyMicroseconds, cpuMicroseconds, residentBytes } from '../proc.ts'
import { firstLine } from '../result.ts'
import { token } from '../token.ts'
import { ANSWER, ANSWER_PATH, type SmallUpstream, startSmallUpstream } from '../upstream/small.ts'
import { wrk } from '../wrk.ts'

const CONNECTIONS = 64
// As long as a just-in-time compiler needs: after one second Fastify still costs a third more than after four.
const WARM_UP_SECONDS = 4
const LOG_LIMIT = 5_000

/** One turn of one contender under load. */
export type Turn = {
  contender: string
  round: number
  requests: number
  requestsPerSecond: number
  /** Microseconds of CPU time of the whole process tree. */
  cpuPerRequest: number
  /** Milliseconds, under the full load of all connections. */
  p50: number
  p99: number
  residentBytes: number
  /** Connections that the contender opened to the upstream during the turn. */
  upstreamConnections: number
  /** Share of the measured core that was used at all, and that somebody else used. */
  busy: number
  foreign: number
  /** Share of the load's core that was used at all. */
  loadBusy: number
}

export type SmallPlan = {
  contenders: Contender[]
  rounds: number
  seconds: number
  directory: string
  cores: Cores
  say: (line: string) => void
}

export type SmallOutcome = {
  /** The turns of the contenders that stayed in the race to its end. */
  turns: Turn[]
  /** Why the others did not. */
  faults: string[]
}

type Entry = { contender: Contender; running: Running }

/** All contenders in turns, round by round. Who does not do its whole work leaves the race. */
export async function small(plan: SmallPlan): Promise<SmallOutcome> {
  const upstream = await startSmallUpstream(plan.directory, plan.cores.load)
  const faults = new Map<string, string>()
  const attempt = async (contender: Contender, step: () => Promise<void>): Promise<void> => {
    if (faults.has(contender.name)) return
    await step().catch((error: Error) => {
      faults.set(contender.name, firstLine(error))
      plan.say(`${contender.name} leaves the race: ${error.message}`)
    })
  }
  const field: Entry[] = []
  for (const contender of plan.contenders) {
    await attempt(contender, async () => {
      const running = await enter(contender, plan, upstream)
      await load(running, WARM_UP_SECONDS, plan.cores)
      field.push({ contender, running })
    })
  }
  const turns: Turn[] = []
  for (let round = 1; round <= plan.rounds; round++) {
    // Every other round goes backwards, so that nobody always follows the same neighbour.
    for (const { contender, running } of round % 2 === 1 ? field : field.toReversed()) {
      await attempt(contender, async () => {
        const turn = await takeTurn(contender, running, upstream, plan, round)
        turns.push(turn)
        plan.say(
          `round ${round}/${plan.rounds}, ${contender.name}: ${turn.cpuPerRequest.toFixed(1)} µs, ` +
            `${turn.requestsPerSecond.toFixed(0)} requests/s`,
        )
      })
    }
  }
  await Promise.all(field.map(({ running }) => running.process.stop()))
  await upstream.process.stop()
  return {
    turns: turns.filter(turn => !faults.has(turn.contender)),
    faults: [...faults].map(([name, fault]) => `${name} left the race: ${fault}`),
  }
}

/** Starts a contender and lets it prove that it does the whole work. */
async function enter(contender: Contender, plan: SmallPlan, upstream: SmallUpstream): Promise<Running> {
  const running = await contender.start({ ...plan, upstreamPort: upstream.port })
  const found = await breaches(contender, running)
  if (found.length > 0) throw new Error(found.join('; '))
  plan.say(`${contender.name}: started, does the whole work`)
  return running
}

async function takeTurn(
  contender: Contender,
  running: Running,
  upstream: SmallUpstream,
  { cores, seconds }: SmallPlan,
  round: number,
): Promise<Turn> {
  const { pid, outputFile } = running.process
  truncateSync(outputFile)
  const before = await upstream.counts()
  const measuredCore = cores.measured === null ? undefined : watchCore(cores.measured)
  const loadCore = cores.load === null ? undefined : watchCore(cores.load)
  const cpuBefore = cpuMicroseconds(pid)
  const seen = await load(running, seconds, cores)
  const cpu = cpuMicroseconds(pid) - cpuBefore
  const loadBusy = loadCore?.().share ?? 0
  const watched = measuredCore?.()
  const after = await upstream.counts()
  if (after.requests - before.requests < seen.requests) {
    throw new Error(`${seen.requests} requests were answered, but the upstream was asked less often`)
  }
  if (contender.logs) await untilLogged(outputFile, seen.requests)
  return {
    contender: contender.name,
    round,
    requests: seen.requests,
    requestsPerSecond: seen.requests / seen.seconds,
    cpuPerRequest: cpu / seen.requests,
    p50: seen.p50 / 1000,
    p99: seen.p99 / 1000,
    residentBytes: residentBytes(pid),
    upstreamConnections: after.connections - before.connections - 1,
    busy: watched?.share ?? 0,
    foreign: watched === undefined ? 0 : Math.max(0, watched.share - cpu / watched.elapsed),
    loadBusy,
  }
}

async function load(running: Running, seconds: number, cores: Cores) {
  const seen = await wrk({
    url: `http://127.0.0.1:${running.port}${ANSWER_PATH}`,
    token: token(),
    answer: ANSWER,
    connections: CONNECTIONS,
    seconds,
    core: cores.load,
  })
  if (seen.wrong > 0 || seen.socketErrors > 0 || seen.requests === 0) {
    throw new Error(
      `of ${seen.requests} answers ${seen.wrong} were wrong, ${seen.socketErrors} connections failed\n` +
        running.process.complaint(),
    )
  }
  return seen
}

/** Starts to watch a core; the returned function tells how much of it was in use since then. */
function watchCore(core: number): () => { share: number; elapsed: number } {
  const busy = coreBusyMicroseconds(core)
  const begin = performance.now()
  return () => {
    const elapsed = (performance.now() - begin) * 1000
    return { share: (coreBusyMicroseconds(core) - busy) / elapsed, elapsed }
  }
}

/** A log in batches may still be on its way: wait for the last line, and fail when lines are lost. */
async function untilLogged(file: string, requests: number): Promise<void> {
  const deadline = Date.now() + LOG_LIMIT
  let lines = await countLines(file)
  while (lines < requests) {
    if (Date.now() > deadline) throw new Error(`${lines} log lines were written for ${requests} requests`)
    await delay(20)
    lines = await countLines(file)
  }
}

async function countLines(file: string): Promise<number> {
  let lines = 0
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines++
  }
  return lines
}
