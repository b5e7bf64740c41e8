/** An upstream on a real HTTP server: knows which requests arrived whole, and which were broken off. */

import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/** Milliseconds. Waits for events only: nothing takes that long but a machine that does other things. */
const PATIENCE = 10_000

export interface ReceivedRequest {
  readonly method: string
  readonly target: string
  readonly message: IncomingMessage
  readonly response: ServerResponse
  /** Bytes of body so far. */
  received: number
  /** Resolves when the request ended: true when it arrived whole. */
  readonly whole: Promise<boolean>
  /** The body as text, of whole requests. */
  text: string
}

export interface HttpUpstream {
  readonly url: string
  readonly requests: ReceivedRequest[]
  readonly sockets: ReadonlySet<Socket>
  /** The first request, past or future, whose target holds `part`. */
  request(part: string, wait?: number): Promise<ReceivedRequest>
  /** Resolves once no connection is open; rejects after `wait` ms. */
  quiet(wait?: number): Promise<void>
  close(): Promise<void>
}

export type Service = (request: ReceivedRequest) => void | Promise<void>

export async function httpUpstream(service: Service = whenWhole): Promise<HttpUpstream> {
  const requests: ReceivedRequest[] = []
  const sockets = new Set<Socket>()
  const watchers = new Set<() => void>()
  const notify = (): void => {
    for (const watcher of [...watchers]) watcher()
  }
  const server = http.createServer({ keepAliveTimeout: 30_000, maxHeaderSize: 1_048_576 })
  // Every field counts: node:http would quietly keep 2,000 of them
  server.maxHeadersCount = 0
  const receive = (message: IncomingMessage, response: ServerResponse): void => {
    const request = record(message, response)
    requests.push(request)
    notify()
    void service(request)
  }
  server.on('request', receive)
  // Whether to send 100 is the service's own choice
  server.on('checkContinue', receive)
  // A request that breaks off is told by its message; without this it would become an error of the test that runs
  server.on('clientError', (_, socket) => socket.destroy())
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('close', () => {
      sockets.delete(socket)
      notify()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  const eventually = <T>(look: () => T | undefined, wait: number, what: string): Promise<T> =>
    new Promise((resolve, reject) => {
      const watcher = (): void => {
        const found = look()
        if (found === undefined) return
        watchers.delete(watcher)
        clearTimeout(timer)
        resolve(found)
      }
      const timer = setTimeout(() => {
        watchers.delete(watcher)
        reject(new Error(`${what} within ${wait} ms`))
      }, wait)
      watchers.add(watcher)
      watcher()
    })

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    sockets,
    request: (part, wait = PATIENCE) =>
      eventually(() => requests.find(({ target }) => target.includes(part)), wait, `no request for ${part}`),
    async quiet(wait = PATIENCE) {
      await eventually(() => (sockets.size === 0 ? true : undefined), wait, 'connections still open')
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers when the request is whole: method, target, body and its size. */
export async function whenWhole(request: ReceivedRequest): Promise<void> {
  if (request.message.headers.expect !== undefined) request.response.writeContinue()
  if (!(await request.whole)) return
  const { method, target, received, text, response } = request
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ method, target, received, text }))
}

function record(message: IncomingMessage, response: ServerResponse): ReceivedRequest {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const request: ReceivedRequest = {
    method: message.method ?? '',
    target: message.url ?? '',
    message,
    response,
    received: 0,
    whole: promise,
    text: '',
  }
  message.on('data', (chunk: Buffer) => {
    request.received += chunk.length
    if (request.received <= 65_536) request.text += chunk.toString('latin1')
  })
  message.on('close', () => resolve(message.complete))
  message.on('end', () => resolve(true))
  message.on('error', () => resolve(false))
  return request
}
