/** Reads streams whose events say when they left the upstream: how late the first comes, and each after it left. */

import { Agent, get, type IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { Histogram } from './histogram.ts'
import { now } from './loops.ts'
import { asProgram } from './program.ts'

export type StampPlan = {
  port: number
  path: string
  token: string
  /** Streams at a time. */
  streams: number
  /** Events of each stream. */
  events: number
  /** Mean pause between two streams of a reader. */
  pauseMilliseconds: number
  warmUp: number
  seconds: number
}

/** Times in microseconds. */
export type Stamped = {
  streams: number
  /** From the request to the first event. */
  firstP50: number
  firstP99: number
  /** From the upstream's write to the client's read. */
  eventP50: number
  eventP99: number
}

asProgram(read)

async function read(plan: StampPlan, word: () => Promise<void>): Promise<Stamped> {
  const agent = new Agent({ keepAlive: true })
  const firsts = new Histogram()
  const events = new Histogram()
  await word()
  const from = now() + plan.warmUp * 1e6
  const until = from + plan.seconds * 1e6
  const readers = Array.from({ length: plan.streams }, async () => {
    while (now() < until) {
      // Spread out, so that streams do not begin in step
      await delay(2 * plan.pauseMilliseconds * Math.random())
      const begin = now()
      const counts = begin >= from
      const first = await readOne(plan, agent, counts ? events : new Histogram())
      if (counts) firsts.record(first - begin)
    }
  })
  await Promise.all(readers)
  agent.destroy()
  return {
    streams: firsts.total,
    firstP50: firsts.percentile(0.5),
    firstP99: firsts.percentile(0.99),
    eventP50: events.percentile(0.5),
    eventP99: events.percentile(0.99),
  }
}

/** @returns when the first event came */
function readOne(plan: StampPlan, agent: Agent, delays: Histogram): Promise<number> {
  const { port, path, token } = plan
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` }
    let first = 0
    let seen = 0
    let pending = ''
    const onAnswer = (answer: IncomingMessage): void => {
      if (answer.statusCode !== 200) reject(new Error(`a stream is answered ${answer.statusCode}`))
      answer.setEncoding('latin1')
      answer.on('data', (chunk: string) => {
        const arrived = process.hrtime.bigint()
        if (first === 0) first = now()
        pending += chunk
        const whole = pending.split('\n\n')
        pending = whole.pop() ?? ''
        for (const event of whole) {
          const left = BigInt(event.slice('data: '.length))
          delays.record(Number(arrived - left) / 1_000)
          seen++
        }
      })
      answer.on('error', reject)
      answer.on('end', () =>
        seen === plan.events ? resolve(first) : reject(new Error(`${seen} of ${plan.events} events came`)),
      )
    }
    get({ port, path, host: '127.0.0.1', agent, headers }, onAnswer).on('error', reject)
  })
}
