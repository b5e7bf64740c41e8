/**
 * A service that can do only so much, a process of its own: it works on so many requests at a time, and more than that
 * wait inside, in the order in which they came, as in a service behind a pool of database connections. Nothing bounds
 * how many may wait; those whose client has left are not worked on. How long a request takes is said by the request: the
 * same is asked whoever stands in front, and whoever else asks.
 */

import { createServer, type ServerResponse } from 'node:http'
import { GAUGE_PATH, type Gauge, MEAN_MILLISECONDS, SLOTS } from './limited-paths.ts'
import { ANSWER } from './service.ts'

type Work = { answer: ServerResponse; takes: number }

let waiting: Work[] = []
let next = 0
let taken = 0
let slotTime = 0
let answered = 0
let changedAt = performance.now()

const server = createServer((question, answer) => {
  const { pathname, searchParams } = new URL(question.url ?? '/', 'http://upstream')
  if (pathname === GAUGE_PATH) return void answer.end(JSON.stringify(gauge()))
  waiting.push({ answer, takes: Number(searchParams.get('takes') ?? MEAN_MILLISECONDS) })
  begin()
})

function begin(): void {
  while (taken < SLOTS && next < waiting.length) {
    const { answer, takes } = waiting[next++]!
    if (answer.destroyed) continue
    use(1)
    setTimeout(end, takes, answer)
  }
  if (next < 1000 && next < waiting.length) return
  waiting = waiting.slice(next)
  next = 0
}

function end(answer: ServerResponse): void {
  use(-1)
  answered++
  answer.setHeader('content-type', 'application/json')
  answer.setHeader('content-length', ANSWER.length)
  answer.end(ANSWER)
  begin()
}

function use(slots: number): void {
  const now = performance.now()
  slotTime += taken * (now - changedAt)
  changedAt = now
  taken += slots
}

function gauge(): Gauge {
  use(0)
  return { at: changedAt, slotTime, answered, waiting: waiting.length - next }
}

server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 })
