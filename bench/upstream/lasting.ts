/**
 * What stands behind contenders when connections last, a process of its own: WebSockets that echo, event streams that
 * stay silent, and streams whose events say when they left. Every other request gets the small answer.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { WebSocketServer } from 'ws'
import { EVENTS_PATH, SOCKET_PATH, STAMPS_PATH } from './lasting-paths.ts'
import { ANSWER } from './service.ts'

const EVENT_STREAM = { 'content-type': 'text/event-stream', 'cache-control': 'no-store' }

const server = createServer((question, answer) => {
  const { pathname, searchParams } = new URL(question.url ?? '/', 'http://upstream')
  if (pathname === EVENTS_PATH) stayOpen(answer)
  else if (pathname === STAMPS_PATH)
    stamp(question, answer, Number(searchParams.get('events')), Number(searchParams.get('every')))
  else answer.setHeader('content-type', 'application/json').end(ANSWER)
})

function stayOpen(answer: ServerResponse): void {
  answer.writeHead(200, EVENT_STREAM)
  answer.write(': open\n\n')
}

/** So many events, so many milliseconds apart. The clock is one for all processes of a machine. */
function stamp(question: IncomingMessage, answer: ServerResponse, events: number, every: number): void {
  answer.socket?.setNoDelay(true)
  answer.writeHead(200, EVENT_STREAM)
  let left = events
  const send = (): void => {
    answer.write(`data: ${process.hrtime.bigint()}\n\n`)
    if (--left > 0) return
    clearInterval(timer)
    answer.end()
  }
  const timer = setInterval(send, every)
  question.on('close', () => answer.destroyed && clearInterval(timer))
  send()
}

const sockets = new WebSocketServer({ server, path: SOCKET_PATH, perMessageDeflate: false })
sockets.on('connection', socket => {
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }))
  socket.on('error', () => socket.terminate())
})

server.listen({ port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 })
