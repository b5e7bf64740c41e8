import { prepareProgram } from '../load/program.ts'
import type { Stamped, StampPlan } from '../load/stamps.ts'
import { gateway } from '../peers/gateway.ts'
import { haproxyNoDelay } from '../peers/haproxy.ts'
import { nginxUnbuffered } from '../peers/nginx.ts'
import { figureOf, type Result, ratioOf, withRange } from '../result.ts'
import type { Run } from '../run.ts'
import { token } from '../token.ts'
import { inTurns } from '../turns.ts'
import { SOCKET_PATH, STAMPS_PATH } from '../upstream/lasting-paths.ts'
import { finishersOf, type Lasting, lastingField, withTurns } from './lasting.ts'

const STAMPS = new URL('../load/stamps.ts', import.meta.url)
const STREAMS = 100
const EVENTS = 20
const EVERY_MILLISECONDS = 20
const WARM_UP_SECONDS = 1

/** How late a streamed answer begins, and how late each of its events is. */
export async function firstEvent(run: Run): Promise<Result | null> {
  const participant = (name: string, port: number): Lasting => ({
    name,
    warmUp: async () => void (await stream(port, { ...PLAN, ...DENSE, warmUp: 0, seconds: run.warmUp })),
    turn: () => takeTurn(port, run),
    tell: ({ firstP50, eventP99 }) => `first event ${firstP50} µs (p50), any event ${eventP99} µs (p99)`,
  })
  const candidates = [gateway(run), nginxUnbuffered, haproxyNoDelay]
  const field = await lastingField(run, candidates, SOCKET_PATH, participant)
  const turns = await inTurns(field.participants, run)
  await field.stop()
  const { samples } = turns
  const finishers = finishersOf(field, turns)
  return withTurns(
    {
      scenario: 'first-event',
      title: `Streamed answers: ${EVENTS} events, ${EVERY_MILLISECONDS} ms apart, ${STREAMS} streams at a time, one core`,
      table: {
        columns: [
          '',
          'first event, p50 µs',
          'p99 µs',
          'each event, p50 µs',
          'p99 µs',
          'gateway first p50 / this',
        ],
        rows: finishers.map(({ name, label }) => {
          const ratio = name === 'gateway' ? null : ratioOf(samples, 'gateway', name, 'firstP50')
          return [
            label,
            ...['firstP50', 'firstP99', 'eventP50', 'eventP99'].map(figure =>
              withRange(figureOf(samples, name, figure)!, 0),
            ),
            ratio === null ? '' : withRange(ratio, 2),
          ]
        }),
      },
      notes: [
        'First event: from the request to the first event at the client, over kept connections. Each event: from when the upstream wrote it, which stands in it, ' +
          'to when the client read it; both processes read the same clock. Upstream and client share a core and are part of both.',
        'Medians over the rounds, least..most in brackets. nginx has `proxy_buffering off`; it checks and logs nothing. HAProxy has `http-no-delay`.',
      ],
      chart: {
        title: 'First event of a streamed answer, p50',
        unit: 'µs',
        bars: finishers.map(({ name, label }) => {
          const { median, least, most } = figureOf(samples, name, 'firstP50')!
          return { label, value: median, low: least, high: most, own: name === 'gateway' }
        }),
      },
    },
    field,
    turns,
  )
}

async function takeTurn(port: number, { seconds }: Run): Promise<Record<string, number>> {
  const stamped = await stream(port, { ...PLAN, seconds })
  return { ...stamped, eventP99Milliseconds: stamped.eventP99 / 1000 }
}

type Pace = { streams: number; events: number; every: number; warmUp: number; seconds: number }

const PLAN = { streams: STREAMS, events: EVENTS, every: EVERY_MILLISECONDS, warmUp: WARM_UP_SECONDS }
/** As many streams as there can be, to get the code compiled that serves them. */
const DENSE = { streams: 64, events: 2, every: 1 }

async function stream(port: number, { every, ...pace }: Pace): Promise<Stamped> {
  const { go } = await prepareProgram<StampPlan, Stamped>(STAMPS, {
    ...pace,
    port,
    path: `${STAMPS_PATH}?events=${pace.events}&every=${every}`,
    token: token(),
    pauseMilliseconds: every,
  })
  return go()
}
