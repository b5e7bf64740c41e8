/**
 * Companies that ask when it pleases them, at random (Poisson), whether they are answered or not; a process of its own for
 * each kind, so that the busy ones do not delay the clock of the others. When each request is sent and how long it takes
 * follows from its number: it is the same beside others as alone, and for every contender.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { WORK_PATH } from '../upstream/limited-paths.ts'
import { ANSWER } from '../upstream/service.ts'
import { Histogram } from './histogram.ts'
import { now } from './loops.ts'
import { asProgram } from './program.ts'
import { pauseBefore, serviceTime } from './random.ts'
import { Sockets } from './sockets.ts'
import { companyOf, tokenAt } from './tokens.ts'

export type ArrivalPlan = {
  port: number
  /** Number of the first company, and how many there are. */
  first: number
  companies: number
  /** Of each company. */
  perSecond: number
  /** Requests under way at a time; what is due beyond that is not sent, and is counted. */
  most: number
  warmUp: number
  seconds: number
  /** How long answers are waited for when the last request was sent. */
  graceSeconds: number
}

/** Of the requests that were due after the warm-up. Times in microseconds, from when a request was due. */
export type Arrivals = {
  due: number
  answered: number
  /** 429 and 503. */
  refused: number
  /** Answered otherwise, cut off, or not answered when all was over. */
  failed: number
  notSent: number
  p50: number
  p99: number
  most: number
  /** By how much requests were sent later than they were due, at the 99th percentile. */
  late: number
}

asProgram(ask)

/** Requests that are made beforehand; with that many the order in which they repeat is of no account. */
const DIFFERENT = 5000

async function ask(plan: ArrivalPlan, word: () => Promise<void>): Promise<Arrivals> {
  const requests = prepare(plan)
  const sockets = new Sockets(plan.port)
  const latency = new Histogram()
  const late = new Histogram()
  const counts = { due: 0, answered: 0, refused: 0, failed: 0, notSent: 0 }
  let underWay = 0
  const send = (number: number, due: number, counted: boolean): void => {
    const count = (what: keyof typeof counts): void => {
      if (counted) counts[what]++
    }
    count('due')
    if (underWay >= plan.most) return count('notSent')
    if (counted) late.record(Math.max(0, now() - due))
    underWay++
    sockets.ask(requests[number % requests.length]!, (status, body) => {
      underWay--
      if (counted && status === 200) latency.record(now() - due)
      if (status === 200 && body.length === ANSWER.length) count('answered')
      else count(status === 429 || status === 503 ? 'refused' : 'failed')
    })
  }
  await word()
  const begin = now()
  const from = begin + plan.warmUp * 1e6
  const until = from + plan.seconds * 1e6
  const mean = 1e6 / (plan.perSecond * plan.companies)
  let number = 0
  let due = begin + pauseBefore(plan.first, number) * mean
  while (due < until) {
    for (; due < until && due <= now(); due += pauseBefore(plan.first, ++number) * mean)
      send(number, due, due >= from)
    await delay(1)
  }
  const limit = now() + plan.graceSeconds * 1e6
  while (underWay > 0 && now() < limit) await delay(10)
  sockets.close()
  const missing = counts.due - counts.answered - counts.refused - counts.failed - counts.notSent
  const none = latency.total === 0
  return {
    ...counts,
    failed: counts.failed + missing,
    p50: none ? 0 : latency.percentile(0.5),
    p99: none ? 0 : latency.percentile(0.99),
    most: latency.most,
    late: late.total === 0 ? 0 : late.percentile(0.99),
  }
}

/** Companies ask in turn. The header is for those that verify no tokens and take its word. */
function prepare({ first, companies }: ArrivalPlan): string[] {
  const source = { kind: 'valid', algorithm: 'HS256', count: 1_000_000 } as const
  const tokens = Array.from({ length: companies }, (_, index) => tokenAt(source, first + index))
  return Array.from({ length: Math.ceil(DIFFERENT / companies) * companies }, (_, number) => {
    const company = number % companies
    return (
      `GET ${WORK_PATH}?takes=${serviceTime(first, number).toFixed(1)} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
      `Authorization: Bearer ${tokens[company]}\r\nX-Company-ID: ${companyOf(first + company)}\r\n\r\n`
    )
  })
}
