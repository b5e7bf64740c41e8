/** Round trips over WebSockets: each connection sends a small message, hears it again, and thinks for a while. */

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Histogram } from './histogram.ts'
import { now } from './loops.ts'
import { asProgram } from './program.ts'

export type EchoPlan = {
  port: number
  path: string
  token: string
  connections: number
  /** Mean pause between two messages of a connection. */
  pauseMilliseconds: number
  warmUp: number
  seconds: number
}

/** Times in microseconds. */
export type Echoed = { messages: number; p50: number; p99: number }

asProgram(echo)

async function echo(plan: EchoPlan, word: () => Promise<void>): Promise<Echoed> {
  const { port, path, token } = plan
  const sockets = Array.from(
    { length: plan.connections },
    () =>
      new WebSocket(`ws://127.0.0.1:${port}${path}`, {
        headers: { authorization: `Bearer ${token}` },
        perMessageDeflate: false,
      }),
  )
  await Promise.all(sockets.map(socket => once(socket, 'open')))
  await word()
  const from = now() + plan.warmUp * 1e6
  const until = from + plan.seconds * 1e6
  const times = new Histogram()
  await Promise.all(sockets.map(socket => talk(socket, plan.pauseMilliseconds, from, until, times)))
  for (const socket of sockets) socket.terminate()
  return { messages: times.total, p50: times.percentile(0.5), p99: times.percentile(0.99) }
}

async function talk(
  socket: WebSocket,
  pause: number,
  from: number,
  until: number,
  times: Histogram,
): Promise<void> {
  let heard: (at: number) => void = () => {}
  let sent = ''
  const failed = new Promise<never>((_, reject) => {
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('a socket was closed')))
    socket.on('message', message => {
      if (String(message) === sent) heard(now())
      else reject(new Error('another message than the one sent'))
    })
  })
  failed.catch(() => {})
  for (let number = 0; now() < until; number++) {
    // Spread out, so that connections do not fall into step
    await delay(2 * pause * Math.random())
    const answer = new Promise<number>(resolve => {
      heard = resolve
    })
    sent = `message ${number} ${'x'.repeat(40)}`
    const begin = now()
    socket.send(sent)
    const end = await Promise.race([answer, failed])
    if (begin >= from) times.record(end - begin)
  }
}
