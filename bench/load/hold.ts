/** Opens many connections that last, and holds them until it gets the word: WebSockets, or event streams. */

import { get, type IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import { asProgram } from './program.ts'

export type HoldPlan = {
  kind: 'sockets' | 'events'
  port: number
  path: string
  token: string
  connections: number
}

export type Held = {
  /** Connections that had ended by then. */
  broken: number
}

const OPENED_AT_ONCE = 50
const PATIENCE = 10_000

asProgram(hold)

async function hold(plan: HoldPlan, word: () => Promise<void>): Promise<Held> {
  let broken = 0
  const onEnd = (): void => {
    broken++
  }
  const open = plan.kind === 'sockets' ? openSocket : openEvents
  for (let opened = 0; opened < plan.connections; opened += OPENED_AT_ONCE) {
    const some = Math.min(OPENED_AT_ONCE, plan.connections - opened)
    await Promise.all(Array.from({ length: some }, () => open(plan, onEnd)))
  }
  await word()
  return { broken }
}

/** Resolves with the echo of one message. */
function openSocket({ port, path, token }: HoldPlan, onEnd: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      handshakeTimeout: PATIENCE,
    })
    socket.on('open', () => socket.send('here'))
    socket.on('message', message =>
      String(message) === 'here' ? resolve() : reject(new Error('another message than the one sent')),
    )
    socket.on('error', reject)
    socket.on('close', () => {
      reject(new Error('a socket was closed'))
      onEnd()
    })
  })
}

/** Resolves with the first bytes of the stream. */
function openEvents({ port, path, token }: HoldPlan, onEnd: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' }
    const onAnswer = (answer: IncomingMessage): void => {
      if (answer.statusCode !== 200) reject(new Error(`an event stream is answered ${answer.statusCode}`))
      answer.on('data', () => resolve())
      answer.on('error', reject)
      answer.on('close', () => {
        reject(new Error('an event stream ended'))
        onEnd()
      })
    }
    const signal = AbortSignal.timeout(PATIENCE)
    const question = get({ port, path, host: '127.0.0.1', agent: false, headers }, onAnswer)
    question.on('error', reject)
    signal.addEventListener('abort', () => reject(new Error('no first bytes of an event stream')))
  })
}
