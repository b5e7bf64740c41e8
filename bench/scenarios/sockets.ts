import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Contender } from '../contender.ts'
import { PEERS, present } from '../field.ts'
import type { Held, HoldPlan } from '../load/hold.ts'
import { prepareProgram } from '../load/program.ts'
import { gateway } from '../peers/gateway.ts'
import { residentBytes } from '../proc.ts'
import { figureOf, mebibytes, type Result, withRange } from '../result.ts'
import { type Run, wanted } from '../run.ts'
import { token } from '../token.ts'
import { inTurns, type Participant } from '../turns.ts'
import { EVENTS_PATH, SOCKET_PATH } from '../upstream/lasting-paths.ts'
import { refusesStrangers, startLasting, warmUp } from './lasting.ts'

const HOLD = new URL('../load/hold.ts', import.meta.url)
/** Opened and closed before the first measurement: what the first ones cost once is not theirs. */
const REHEARSAL = 200
const SETTLE_MILLISECONDS = 2_000
const ROUNDS = 3

const KINDS = { sockets: SOCKET_PATH, events: EVENTS_PATH } as const
type Kind = keyof typeof KINDS
const WORDS: Record<Kind, string> = { sockets: 'WebSockets', events: 'event streams' }

type Entry = Participant & { label: string }

/** What a WebSocket costs on which nothing happens, and an event stream likewise. */
export async function sockets(run: Run): Promise<Result | null> {
  const own = gateway({ ...run, maxConnections: 2 * run.lasting })
  const candidates = [own, ...PEERS.filter(({ name }) => name === 'haproxy-log')]
  const { contenders, leftOut } = await present(wanted(run, candidates))
  leftOut.forEach(run.say)
  if (contenders.length === 0) return null
  const upstream = await startLasting(run)
  const entries = contenders.flatMap(contender =>
    (['sockets', 'events'] as const).map(kind => entryOf(contender, kind, run, upstream.port)),
  )
  const { samples, faults } = await inTurns(entries, { ...run, rounds: Math.min(ROUNDS, run.rounds) })
  await upstream.process.stop()
  const finishers = entries.filter(({ name }) => samples.some(({ entry }) => entry === name))
  return {
    scenario: 'sockets',
    title: `${run.lasting.toLocaleString('en')} idle WebSockets, and as many idle event streams: resident memory`,
    table: {
      columns: ['', 'bytes for each', 'RSS MiB before', 'RSS MiB with them'],
      rows: finishers.map(({ name, label }) => [
        label,
        withRange(figureOf(samples, name, 'bytesPerConnection')!, 0),
        mebibytes(figureOf(samples, name, 'residentBefore')!.median),
        mebibytes(figureOf(samples, name, 'residentAfter')!.median),
      ]),
    },
    notes: [
      'A fresh process in each turn, warmed up under load; growth of its resident memory over the connections that were opened and left open: WebSockets after one ' +
        "message and its echo, event streams after their first event. The kernel's own memory for sockets is not part of it. " +
        'Each connection of a client has one of its own to the upstream.',
      ...leftOut,
    ],
    faults,
    chart: {
      title: 'Memory of an idle WebSocket or event stream',
      unit: 'bytes',
      bars: finishers.map(({ name, label }) => {
        const { median, least, most } = figureOf(samples, name, 'bytesPerConnection')!
        return {
          label,
          value: Math.max(0, median),
          low: Math.max(0, least),
          high: Math.max(0, most),
          own: name.startsWith('gateway'),
        }
      }),
    },
    samples,
  }
}

function entryOf(contender: Contender, kind: Kind, run: Run, upstreamPort: number): Entry {
  return {
    name: `${contender.name}-${kind}`,
    label: `${contender.label}, ${WORDS[kind]}`,
    turn: () => oneProcess(contender, kind, run, upstreamPort),
    tell: ({ bytesPerConnection }) => `${bytesPerConnection!.toFixed(0)} bytes for each of ${WORDS[kind]}`,
  }
}

async function oneProcess(
  contender: Contender,
  kind: Kind,
  run: Run,
  upstreamPort: number,
): Promise<Record<string, number>> {
  const directory = await mkdtemp(join(run.directory, 'sockets-'))
  const running = await contender.start({ ...run, directory, upstreamPort })
  const { port } = running
  const { pid } = running.process
  try {
    await refusesStrangers(contender, running, SOCKET_PATH)
    await warmUp(running, run)
    await letGo(await open(kind, port, Math.min(REHEARSAL, run.lasting)))
    await delay(SETTLE_MILLISECONDS)
    const before = residentBytes(pid)
    const held = await open(kind, port, run.lasting)
    await delay(SETTLE_MILLISECONDS)
    const after = residentBytes(pid)
    await letGo(held)
    return {
      residentBefore: before,
      residentAfter: after,
      bytesPerConnection: (after - before) / run.lasting,
    }
  } finally {
    await running.process.stop()
  }
}

function open(kind: Kind, port: number, connections: number) {
  const path = KINDS[kind]
  return prepareProgram<HoldPlan, Held>(HOLD, { kind, port, path, token: token(), connections })
}

/** Ends them, and fails when some had ended before. */
async function letGo({ go }: Awaited<ReturnType<typeof open>>): Promise<void> {
  const { broken } = await go()
  if (broken > 0) throw new Error(`${broken} connections did not stay open`)
}
