import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Running } from '../contender.ts'
import type { Cores } from '../cores.ts'
import { generate } from '../load/generate.ts'
import type { Expected } from '../load/question.ts'
import type { TokenSource } from '../load/tokens.ts'
import { gateway } from '../peers/gateway.ts'
import { hello } from '../peers/node.ts'
import { cpuMicroseconds } from '../proc.ts'
import { pairwiseRatio } from '../statistics.ts'
import { ANSWER, PATHS } from '../upstream/service.ts'
import { type Costs, type Meter, type Name, QUESTIONS } from './baseline.ts'
import { callgrindInstructions, perfInstructions, startCounting, underCallgrind } from './meters.ts'

type Setting = { directory: string; cores: Cores; upstreamPort: number }

/** Measures all questions. */
export type Measure = () => Promise<Costs>

const ASKED: Record<Name, { tokens: TokenSource; expected: Expected }> = {
  small: { tokens: { kind: 'one' }, expected: { status: 200, body: ANSWER } },
  refused: { tokens: { kind: 'none' }, expected: { status: 401, any: true } },
}

/** Under valgrind there is no time for the thousands of calls that V8 waits for before it compiles: it comes sooner to the same code. */
const COMPILE_EARLY = ['--invocation-count-for-maglev=100', '--invocation-count-for-turbofan=800']
/** The compiler may still be at work in the first of them: the least counts, since all else only adds. */
const WINDOWS: Record<Name, number> = { small: 4, refused: 5 }
const COUNTED = 400

const CPU_ROUNDS = 7
const CPU_REQUESTS = 6_000

/** An upstream in this process: nothing to install, and what it costs is not measured. */
export async function startUpstream(): Promise<{ port: number; close: () => void }> {
  const server = createServer((request, answer) => {
    request.resume()
    answer.setHeader('content-type', 'application/json')
    answer.end(ANSWER)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Starts what a meter needs and warms it up. */
export const PREPARE: Record<Meter, (setting: Setting) => Promise<Measure>> = {
  perf: async setting => {
    const running = await gateway({ sources: false }).start(setting)
    const { pid } = running.process
    for (const name of QUESTIONS) await ask(running, name, 20_000)
    return () =>
      each(name => perfInstructions(pid, () => ask(running, name, 10_000)).then(count => count / 10_000))
  },

  callgrind: async setting => {
    const { directory } = setting
    const running = await gateway({
      sources: false,
      under: underCallgrind(directory),
      nodeArguments: COMPILE_EARLY,
    }).start(setting)
    const { pid } = running.process
    // Until the compiler has done its work, what is counted is the compiler.
    await ask(running, 'refused', 3_000)
    await ask(running, 'small', 12_000)
    await startCounting(pid)
    for (const name of QUESTIONS) await ask(running, name, 100)
    return () =>
      each(async name => {
        const counts: number[] = []
        while (counts.length < WINDOWS[name]) {
          counts.push(await callgrindInstructions(pid, directory, () => ask(running, name, COUNTED)))
        }
        return Math.min(...counts) / COUNTED
      })
  },

  cpu: async setting => {
    const own = await gateway({ sources: false }).start(setting)
    const yardstick = await hello.start(setting)
    for (const name of QUESTIONS) await ask(own, name, 20_000)
    await ask(yardstick, 'refused', 20_000)
    return () => cpuRatios(own, yardstick)
  },
}

/** The gateway's CPU time over the yardstick's, in turns; medians of ratios that were formed round by round. */
async function cpuRatios(own: Running, yardstick: Running): Promise<Costs> {
  const costs: Record<Name, number[]> = { small: [], refused: [] }
  const bare: number[] = []
  for (let round = 0; round < CPU_ROUNDS; round++) {
    bare.push(await cpuPerRequest(yardstick, 'refused'))
    for (const name of QUESTIONS) costs[name].push(await cpuPerRequest(own, name))
  }
  return each(async name => pairwiseRatio(costs[name], bare).median)
}

async function cpuPerRequest(running: Running, name: Name): Promise<number> {
  const before = cpuMicroseconds(running.process.pid)
  await ask(running, name, CPU_REQUESTS)
  return (cpuMicroseconds(running.process.pid) - before) / CPU_REQUESTS
}

async function ask({ port }: Running, name: Name, requests: number): Promise<void> {
  const { wrong } = await generate({
    port,
    connections: 16,
    path: PATHS.small,
    paths: 1,
    first: 0,
    pace: { kind: 'closed', requests },
    ...ASKED[name],
  })
  if (wrong > 0) throw new Error(`${wrong} of ${requests} answers to "${name}" were wrong`)
}

async function each(measure: (name: Name) => Promise<number>): Promise<Costs> {
  const small = await measure('small')
  return { small, refused: await measure('refused') }
}
