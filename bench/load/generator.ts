/**
 * A load generator for what wrk cannot do: requests that all differ, and requests sent by the clock. A process of its
 * own, which prepares all requests before it waits for the word.
 */

import { Connection } from './connection.ts'
import { Histogram } from './histogram.ts'
import { closedLoop, now, openLoop, type Tally } from './loops.ts'
import type { Outcome, Plan } from './plan.ts'
import { asProgram } from './program.ts'
import { tokenAt } from './tokens.ts'

asProgram(run)

async function run(plan: Plan, word: () => Promise<void>): Promise<Outcome> {
  const requests = prepare(plan)
  const tally: Tally = { latency: new Histogram(), lateness: new Histogram(), wrong: 0, errors: [] }
  const onBroken = (error: Error): void => {
    tally.errors.push(error.message)
  }
  const connections = await Promise.all(
    Array.from({ length: plan.connections }, () => Connection.open(plan.port, onBroken)),
  )
  await word()
  const begin = now()
  const { pace } = plan
  if (pace.kind === 'closed') await closedLoop(connections, requests, plan.expected, tally)
  else await openLoop(connections, requests, plan.expected, pace, tally)
  const seconds = (now() - begin) / 1e6
  for (const connection of connections) connection.close()
  const { latency, lateness } = tally
  if (latency.total === 0) throw new Error(tally.errors[0] ?? 'nothing was answered')
  return {
    requests: latency.total,
    seconds,
    wrong: tally.wrong,
    socketErrors: tally.errors.length,
    p50: latency.percentile(0.5),
    p99: latency.percentile(0.99),
    p999: latency.percentile(0.999),
    most: latency.most,
    late: lateness.total === 0 ? 0 : lateness.percentile(0.99),
  }
}

/** Every request of the turn as it goes over the wire; those that repeat are made once. */
function prepare({ path, paths, tokens, first, pace }: Plan): string[] {
  const different = tokens.kind === 'none' || tokens.kind === 'one' ? 1 : tokens.count
  const cycle = leastCommonMultiple(different, paths)
  const requests =
    pace.kind === 'closed' ? pace.requests : Math.ceil(pace.perSecond * (pace.warmUp + pace.seconds))
  const known = new Map<number, string | null>()
  const prepared: string[] = []
  for (let index = 0; index < requests; index++) {
    const number = first + index
    if (index >= cycle) {
      prepared.push(prepared[index - cycle]!)
      continue
    }
    const key = number % different
    if (!known.has(key)) known.set(key, tokenAt(tokens, key))
    prepared.push(encodeRequest(path.replace('{n}', String(number % paths)), known.get(key) ?? null))
  }
  return prepared
}

function encodeRequest(path: string, token: string | null): string {
  const authorization = token === null ? '' : `Authorization: Bearer ${token}\r\n`
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${authorization}\r\n`
}

function leastCommonMultiple(a: number, b: number): number {
  const divisor = (x: number, y: number): number => (y === 0 ? x : divisor(y, x % y))
  return (a / divisor(a, b)) * b
}
