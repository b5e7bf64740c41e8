import type { Connection } from './connection.ts'
import type { Histogram } from './histogram.ts'
import { metronome } from './metronome.ts'
import type { Pace } from './plan.ts'
import type { Expected } from './question.ts'

const TICK_MILLISECONDS = 0.1
/** Time for what is under way when the last request was sent. */
const GRACE_MILLISECONDS = 5_000

/** What is counted while a loop runs; latency and lateness in microseconds. */
export type Tally = {
  latency: Histogram
  /** By how much requests left later than planned although a connection was free. */
  lateness: Histogram
  wrong: number
  errors: string[]
}

/** Microseconds, on the clock of all threads. */
export const now = (): number => performance.now() * 1000

/** Each connection asks again as soon as it was answered, until all requests are done. */
export function closedLoop(connections: Connection[], requests: string[], expected: Expected, tally: Tally) {
  return new Promise<void>((resolve, reject) => {
    let next = 0
    let open = connections.length
    const isRight = judge(expected)
    const ask = (connection: Connection): void => {
      const request = requests[next++]
      if (request === undefined) {
        if (--open === 0) resolve()
        return
      }
      const sent = now()
      connection.ask(request, (status, body) => {
        tally.latency.record(now() - sent)
        if (!isRight(status, body)) tally.wrong++
        ask(connection)
      })
    }
    for (const connection of connections) ask(connection)
    const watch = setInterval(() => {
      if (tally.errors.length > 0) reject(new Error(tally.errors[0]))
    }, 100)
    watch.unref()
  })
}

/** Requests leave by the clock, each on whichever connection is free. */
export async function openLoop(
  connections: Connection[],
  requests: string[],
  expected: Expected,
  { perSecond, seconds, warmUp }: Extract<Pace, { kind: 'open' }>,
  tally: Tally,
): Promise<void> {
  const interval = 1e6 / perSecond
  const cold = Math.floor(perSecond * warmUp)
  const idle = [...connections]
  const isRight = judge(expected)
  const begin = now()
  let next = 0
  let answered = 0
  // All connections wait for answers: what is due leaves when one is free, and the wait counts as latency.
  let waiting = false
  const sendDue = (): void => {
    const due = Math.min(requests.length, Math.floor((now() - begin) / interval) + 1)
    while (next < due) {
      const connection = idle.pop()
      if (connection === undefined) {
        waiting = true
        return
      }
      const planned = begin + next * interval
      const counts = next >= cold
      if (counts && !waiting) tally.lateness.record(Math.max(0, now() - planned))
      connection.ask(requests[next++]!, (status, body) => {
        if (counts) tally.latency.record(now() - planned)
        if (!isRight(status, body)) tally.wrong++
        answered++
        idle.push(connection)
        if (next < requests.length && begin + next * interval <= now()) sendDue()
      })
    }
    waiting = false
  }
  const limit = (warmUp + seconds) * 1000 + GRACE_MILLISECONDS
  await new Promise<void>(resolve => {
    const ticking = metronome(TICK_MILLISECONDS, () => {
      sendDue()
      const over = answered === requests.length || tally.errors.length > 0 || (now() - begin) / 1000 > limit
      if (over) void ticking.stop().then(resolve)
    })
  })
  if (answered < requests.length && tally.errors.length === 0) {
    throw new Error(`${answered} of ${requests.length} requests were answered in time`)
  }
}

function judge(expected: Expected): (status: number, body: Buffer) => boolean {
  const { status: right } = expected
  if ('any' in expected) return status => status === right
  if ('bytes' in expected) return (status, body) => status === right && body.length === expected.bytes
  const whole = Buffer.from(expected.body)
  return (status, body) => status === right && body.equals(whole)
}
