import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Contender, Running } from '../contender.ts'
import { PEERS, present } from '../field.ts'
import { Connection } from '../load/connection.ts'
import { wrk } from '../load/wrk.ts'
import { gateway } from '../peers/gateway.ts'
import { residentBytes } from '../proc.ts'
import { enter } from '../race.ts'
import { figureOf, firstLine, mebibytes, type Result, type Sample, withRange } from '../result.ts'
import { type Run, wanted } from '../run.ts'
import { token } from '../token.ts'
import { ANSWER, PATHS, type Service, startService } from '../upstream/service.ts'

const CONNECTIONS = 10_000
const OPENED_AT_ONCE = 100
const SETTLE_MILLISECONDS = 2_000
const ROUNDS = 3
const FIELD = ['haproxy-log', 'nginx', 'fastify-log']

/** What a connection costs that has asked once and now waits. */
export async function idle(run: Run): Promise<Result | null> {
  const candidates = [gateway(run), ...PEERS.filter(({ name }) => FIELD.includes(name))]
  const { contenders, leftOut } = await present(wanted(run, candidates))
  leftOut.forEach(run.say)
  if (contenders.length === 0) return null
  const upstream = await startService(run.directory, run.cores.load)
  const faults = new Map<string, string>()
  const samples: Sample[] = []
  for (let round = 1; round <= Math.min(ROUNDS, run.rounds); round++) {
    for (const contender of contenders) {
      if (faults.has(contender.name)) continue
      try {
        const figures = await oneProcess(contender, run, upstream)
        samples.push({ entry: contender.name, round, figures })
        run.say(`${contender.name}: ${figures.bytesPerConnection!.toFixed(0)} bytes for each connection`)
      } catch (error) {
        faults.set(contender.name, firstLine(error))
        run.say(`${contender.name} leaves: ${(error as Error).message}`)
      }
    }
  }
  await upstream.process.stop()
  return result(
    contenders,
    samples,
    [...faults].map(([name, fault]) => `${name} left: ${fault}`),
    leftOut,
  )
}

/** A fresh process, warmed up first: its heap has the size that it has in service. */
async function oneProcess(
  contender: Contender,
  run: Run,
  upstream: Service,
): Promise<Record<string, number>> {
  const directory = await mkdtemp(join(run.directory, 'idle-'))
  const running = await enter(contender, { ...run, directory }, upstream)
  try {
    await wrk(
      {
        kind: 'wrk',
        connections: 64,
        question: { method: 'GET', path: PATHS.small, token: true },
        expected: { status: 200, body: ANSWER },
      },
      running.port,
      run.warmUp,
      run.cores.load,
    )
    await delay(SETTLE_MILLISECONDS)
    const before = residentBytes(running.process.pid)
    const { connections, broken } = await openAll(running)
    await delay(SETTLE_MILLISECONDS)
    const after = residentBytes(running.process.pid)
    if (broken() > 0) throw new Error(`${broken()} of ${CONNECTIONS} connections did not stay open`)
    for (const connection of connections) connection.close()
    return {
      residentBefore: before,
      residentAfter: after,
      bytesPerConnection: (after - before) / CONNECTIONS,
    }
  } finally {
    await running.process.stop()
  }
}

async function openAll({ port }: Running): Promise<{ connections: Connection[]; broken: () => number }> {
  const connections: Connection[] = []
  let broken = 0
  const request = `GET ${PATHS.small} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token()}\r\n\r\n`
  const openOne = async (): Promise<void> => {
    const connection = await Connection.open(port, () => {
      broken++
    })
    connections.push(connection)
    await new Promise<void>((resolve, reject) => {
      connection.ask(request, (status, body) => {
        if (status === 200 && body.toString() === ANSWER) resolve()
        else reject(new Error(`an answer with ${status}: ${body}`))
      })
    })
  }
  while (connections.length < CONNECTIONS) {
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, openOne))
  }
  return { connections, broken: () => broken }
}

function result(contenders: Contender[], samples: Sample[], faults: string[], leftOut: string[]): Result {
  const finishers = contenders.filter(({ name }) => samples.some(({ entry }) => entry === name))
  return {
    scenario: 'idle',
    title: '10,000 idle keep-alive connections, one request each: resident memory',
    table: {
      columns: ['', 'bytes for each connection', 'RSS MiB before', 'RSS MiB with them'],
      rows: finishers.map(({ name, label }) => [
        label,
        withRange(figureOf(samples, name, 'bytesPerConnection')!, 0),
        mebibytes(figureOf(samples, name, 'residentBefore')!.median),
        mebibytes(figureOf(samples, name, 'residentAfter')!.median),
      ]),
    },
    notes: [
      'A fresh process in each round, warmed up under load; growth of its resident memory over the connections that were opened, asked once and left open. ' +
        "The kernel's own memory for sockets is not part of it.",
      ...leftOut,
    ],
    faults,
    chart: {
      title: 'Memory of an idle connection',
      unit: 'bytes',
      bars: finishers.map(({ name, label }) => {
        const { median, least, most } = figureOf(samples, name, 'bytesPerConnection')!
        return {
          label,
          value: Math.max(0, median),
          low: Math.max(0, least),
          high: Math.max(0, most),
          own: name === 'gateway',
        }
      }),
    },
    samples,
  }
}
