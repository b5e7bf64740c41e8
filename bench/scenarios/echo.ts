import { PEERS } from '../field.ts'
import type { Echoed, EchoPlan } from '../load/echoes.ts'
import { prepareProgram } from '../load/program.ts'
import { gateway } from '../peers/gateway.ts'
import { figureOf, type Result, ratioOf, withRange } from '../result.ts'
import type { Run } from '../run.ts'
import { token } from '../token.ts'
import { inTurns } from '../turns.ts'
import { SOCKET_PATH } from '../upstream/lasting-paths.ts'
import { finishersOf, type Lasting, lastingField, withTurns } from './lasting.ts'

const ECHOES = new URL('../load/echoes.ts', import.meta.url)
const CONNECTIONS = 40
const PAUSE_MILLISECONDS = 20
const WARM_UP_SECONDS = 1
const FIELD = ['haproxy-log', 'haproxy']

/** How long a small message takes to the upstream and back, over WebSockets. */
export async function echo(run: Run): Promise<Result | null> {
  const candidates = [gateway(run), ...PEERS.filter(({ name }) => FIELD.includes(name))]
  const participant = (name: string, port: number): Lasting => ({
    name,
    // Without pauses, to get the code compiled that passes messages on
    warmUp: async () => void (await echoes(port, 0, 0, run.warmUp)),
    turn: () => takeTurn(port, run),
    tell: ({ p50, p99 }) => `${p50} µs (p50), ${p99} µs (p99)`,
  })
  const field = await lastingField(run, candidates, SOCKET_PATH, participant)
  const turns = await inTurns(field.participants, run)
  await field.stop()
  const { samples } = turns
  const finishers = finishersOf(field, turns)
  return withTurns(
    {
      scenario: 'echo',
      title: 'A round trip over a WebSocket: small text messages, 40 connections, one core',
      table: {
        columns: ['', 'p50 µs', 'p99 µs', 'messages/s', 'gateway p50 / this'],
        rows: finishers.map(({ name, label }) => {
          const ratio = name === 'gateway' ? null : ratioOf(samples, 'gateway', name, 'p50')
          return [
            label,
            withRange(figureOf(samples, name, 'p50')!, 0),
            withRange(figureOf(samples, name, 'p99')!, 0),
            figureOf(samples, name, 'perSecond')!.median.toFixed(0),
            ratio === null ? '' : withRange(ratio, 2),
          ]
        }),
      },
      notes: [
        `Each connection sends a message of some 50 bytes, hears it again, and pauses for ${PAUSE_MILLISECONDS} ms on average. Medians over the rounds, ` +
          'least..most in brackets. Client and upstream are the same for all, and share a core.',
        'The upgrade passes the same checks as a request: token, company, identity headers. Those that verify tokens refuse one without.',
      ],
      chart: {
        title: 'Round trip over a WebSocket, p50',
        unit: 'µs',
        bars: finishers.map(({ name, label }) => {
          const { median, least, most } = figureOf(samples, name, 'p50')!
          return { label, value: median, low: least, high: most, own: name === 'gateway' }
        }),
      },
    },
    field,
    turns,
  )
}

async function takeTurn(port: number, { seconds }: Run): Promise<Record<string, number>> {
  const { messages, p50, p99 } = await echoes(port, PAUSE_MILLISECONDS, WARM_UP_SECONDS, seconds)
  return { p50, p99, messages, perSecond: messages / seconds }
}

async function echoes(
  port: number,
  pauseMilliseconds: number,
  warmUp: number,
  seconds: number,
): Promise<Echoed> {
  const { go } = await prepareProgram<EchoPlan, Echoed>(ECHOES, {
    port,
    path: SOCKET_PATH,
    token: token(),
    connections: CONNECTIONS,
    pauseMilliseconds,
    warmUp,
    seconds,
  })
  return go()
}
