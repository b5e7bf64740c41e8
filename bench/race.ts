import { createReadStream, truncateSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type Contender, does, type Running } from './contender.ts'
import { breaches, misanswers } from './contract.ts'
import { drive, type Load, questionOf } from './load/drive.ts'
import { coresBusyMicroseconds, cpuMicroseconds, residentBytes, threadMicroseconds } from './proc.ts'
import { firstLine, type Sample } from './result.ts'
import type { Run } from './run.ts'
import { type Service, startService } from './upstream/service.ts'

const LOG_LIMIT = 5_000
/** A thread with a smaller share of the process's CPU time only helps. */
const WORKING_SHARE = 0.2

/** One line of the table: a contender under a load. Several entries may share a contender, which then runs once. */
export type Entry = {
  name: string
  label: string
  contender: Contender
  load: Load
  /** The entry that this one is compared with, where it is another one than the race's. */
  over?: string
  /** So many threads must share the work, or the entry is not what it says. */
  threads?: number
}

export type RaceOutcome = {
  /** The turns of the entries that stayed in the race to its end. */
  samples: Sample[]
  /** Why the others did not. */
  faults: string[]
}

/** All entries in turns, round by round. Who does not do its whole work leaves the race. */
export async function race(entries: Entry[], run: Run): Promise<RaceOutcome> {
  const upstream = await startService(run.directory, run.cores.load)
  const faults = new Map<string, string>()
  const attempt = async ({ name }: { name: string }, step: () => Promise<void>): Promise<void> => {
    if (faults.has(name)) return
    await step().catch((error: Error) => {
      faults.set(name, firstLine(error))
      run.say(`${name} leaves the race: ${error.message}`)
    })
  }
  const started = new Map<string, Promise<Running>>()
  const field: { entry: Entry; running: Running }[] = []
  for (const entry of entries) {
    await attempt(entry, async () => {
      const { contender, load } = entry
      if (!started.has(contender.name)) started.set(contender.name, enter(contender, run, upstream))
      const running = await started.get(contender.name)!
      const wrong = does(contender, 'forward') ? await misanswers(running, ...questionOf(load)) : []
      if (wrong.length > 0) throw new Error(wrong.join('; '))
      const warmUp = await drive(load, running.port, run.warmUp, 0, run.cores.load)
      fair(await warmUp(), running)
      field.push({ entry, running })
    })
  }
  const samples: Sample[] = []
  for (let round = 1; round <= run.rounds; round++) {
    // Every other round goes backwards, so that nobody always follows the same neighbour.
    for (const { entry, running } of round % 2 === 1 ? field : field.toReversed()) {
      await attempt(entry, async () => {
        const figures = await takeTurn(entry, running, upstream, run, round)
        samples.push({ entry: entry.name, round, figures })
        const { cpu, perSecond } = figures
        run.say(
          `round ${round}/${run.rounds}, ${entry.name}: ${cpu!.toFixed(1)} µs, ${perSecond!.toFixed(0)} requests/s`,
        )
      })
    }
  }
  await Promise.all(field.map(({ running }) => running.process.stop()))
  await upstream.process.stop()
  return {
    samples: samples.filter(({ entry }) => !faults.has(entry)),
    faults: [...faults].map(([name, fault]) => `${name} left the race: ${fault}`),
  }
}

/** Starts a contender and lets it prove that it does the whole work. */
export async function enter(contender: Contender, run: Run, upstream: Service): Promise<Running> {
  const running = await contender.start({ ...run, upstreamPort: upstream.port })
  const found = await breaches(contender, running)
  if (found.length > 0) throw new Error(found.join('; '))
  run.say(`${contender.name}: started, does the whole work`)
  return running
}

async function takeTurn(
  { contender, load, threads = 1 }: Entry,
  running: Running,
  upstream: Service,
  run: Run,
  round: number,
): Promise<Record<string, number>> {
  const { pid, outputFile } = running.process
  const { cores } = run
  truncateSync(outputFile)
  const prepared = await drive(
    load,
    running.port,
    run.seconds,
    run.warmUp + (round - 1) * run.seconds,
    cores.load,
  )
  const before = await upstream.counts()
  const measuredCore = watchCores(cores.measured)
  const loadCore = watchCores(cores.load)
  const threadsBefore = threadMicroseconds(pid)
  const cpuBefore = cpuMicroseconds(pid)
  const seen = fair(await prepared(), running)
  const cpu = cpuMicroseconds(pid) - cpuBefore
  const { share: loadBusy } = loadCore()
  const watched = measuredCore()
  const after = await upstream.counts()
  const asked = after.requests - before.requests
  const [, expected] = questionOf(load)
  if (does(contender, 'forward') && expected.status === 200 && asked < seen.requests) {
    throw new Error(`${seen.requests} requests were answered, but the upstream was asked less often`)
  }
  if (contender.logs) await untilLogged(outputFile, seen.requests)
  if (threads > 1) {
    const working = [...threadMicroseconds(pid)].filter(
      ([thread, used]) => used - (threadsBefore.get(thread) ?? 0) > cpu * WORKING_SHARE,
    ).length
    if (working < threads) throw new Error(`${working} of ${threads} threads did the work`)
  }
  return {
    requests: seen.requests,
    perSecond: seen.requests / seen.seconds,
    // Microseconds of CPU time of the whole process tree for each request.
    cpu: cpu / seen.requests,
    ...('bytes' in expected ? { bytesPerCpuSecond: (seen.requests * expected.bytes * 1e6) / cpu } : {}),
    // Microseconds, under the full load of all connections.
    p50: seen.p50,
    p99: seen.p99,
    residentBytes: residentBytes(pid),
    upstreamConnections: after.connections - before.connections - 1,
    // Shares of the measured cores that were used at all and by somebody else, and of the load's core.
    busy: watched.share,
    foreign: watched.share === 0 ? 0 : Math.max(0, watched.share - cpu / watched.elapsed),
    loadBusy,
  }
}

function fair<Seen extends { requests: number; wrong: number; socketErrors: number }>(
  seen: Seen,
  running: Running,
): Seen {
  if (seen.wrong > 0 || seen.socketErrors > 0 || seen.requests === 0) {
    throw new Error(
      `of ${seen.requests} answers ${seen.wrong} were wrong, ${seen.socketErrors} connections failed\n` +
        running.process.complaint(),
    )
  }
  return seen
}

/** Starts to watch some cores; the returned function tells how much of one of them was in use since then. */
function watchCores(cores: string | null): () => { share: number; elapsed: number } {
  if (cores === null) return () => ({ share: 0, elapsed: 0 })
  const busy = coresBusyMicroseconds(cores)
  const begin = performance.now()
  return () => {
    const elapsed = (performance.now() - begin) * 1000 * cores.split(',').length
    return { share: (coresBusyMicroseconds(cores) - busy) / elapsed, elapsed }
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
