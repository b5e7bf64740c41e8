/** WebSockets of real libraries in tests: what they received, and how they were closed. */

import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { type ClientOptions, type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import { bearer } from './client.ts'
import { token } from './token.ts'

const PATIENCE = 8_000

export interface Message {
  readonly data: Buffer
  readonly binary: boolean
}

export interface Closed {
  readonly code: number
  readonly reason: string
}

export interface Peer {
  readonly socket: WebSocket
  readonly messages: Message[]
  readonly pings: string[]
  readonly pongs: string[]
  /** Resolves with the first `count` messages. */
  received(count: number): Promise<Message[]>
  /** Resolves with the first `count` pings or pongs. */
  heard(kind: 'pings' | 'pongs', count: number): Promise<string[]>
  /** Resolves when it is closed: 1006 when nobody said goodbye. */
  closed(wait?: number): Promise<Closed>
}

export function peerOf(socket: WebSocket): Peer {
  const messages: Message[] = []
  const pings: string[] = []
  const pongs: string[] = []
  let end: Closed | undefined
  const watchers = new Set<() => void>()
  const notify = (): void => {
    for (const watcher of [...watchers]) watcher()
  }
  socket.on('message', (data, binary) => {
    messages.push({ data: data as Buffer, binary })
    notify()
  })
  socket.on('ping', data => {
    pings.push(data.toString())
    notify()
  })
  socket.on('pong', data => {
    pongs.push(data.toString())
    notify()
  })
  socket.on('error', () => {})
  socket.on('close', (code, reason) => {
    end = { code, reason: reason.toString() }
    notify()
  })
  const until = <T>(what: string, look: () => T | undefined, wait: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const settle = (result: T | Error): void => {
        watchers.delete(watcher)
        clearTimeout(timer)
        if (result instanceof Error) reject(result)
        else resolve(result)
      }
      const watcher = (): void => {
        const found = look()
        if (found !== undefined) settle(found)
        else if (end !== undefined) settle(new Error(`closed (${end.code} ${end.reason}) before ${what}`))
      }
      const timer = setTimeout(() => settle(new Error(`no ${what} within ${wait} ms`)), wait)
      watchers.add(watcher)
      watcher()
    })
  const first =
    <T>(list: T[], count: number) =>
    () =>
      list.length >= count ? list.slice(0, count) : undefined
  const heard = { pings, pongs }
  return {
    socket,
    messages,
    pings,
    pongs,
    received: count => until(`${count} messages`, first(messages, count), PATIENCE),
    heard: (kind, count) => until(`${count} ${kind}`, first(heard[kind], count), PATIENCE),
    closed: (wait = PATIENCE) => until('close', () => end, wait),
  }
}

export interface ConnectOptions extends ClientOptions {
  readonly protocols?: string[]
  /** Null: none. */
  readonly token?: string | null
}

/** A `ws` client whose handshake was accepted; rejects with what it was answered otherwise. */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Peer> {
  const { protocols = [], token: given = token(), headers, ...more } = options
  const identity = given === null ? {} : bearer(given)
  const socket = new WebSocket(url.replace('http', 'ws'), protocols, {
    handshakeTimeout: PATIENCE,
    ...more,
    headers: { ...identity, ...headers },
  })
  const peer = peerOf(socket)
  await once(socket, 'open')
  return peer
}

/** What a `ws` client is answered when its handshake is refused. */
export async function refusal(
  url: string,
  options: ConnectOptions = {},
): Promise<{ status: number; headers: http.IncomingHttpHeaders; body: string }> {
  const { protocols = [], token: given = token(), headers, ...more } = options
  const socket = new WebSocket(url.replace('http', 'ws'), protocols, {
    ...more,
    headers: { ...(given === null ? {} : bearer(given)), ...headers },
  })
  socket.on('error', () => {})
  const refused = once(socket, 'unexpected-response').then(([, response]) => response as IncomingMessage)
  const response = await Promise.race([refused, once(socket, 'open').then(() => null)])
  if (response === null) {
    socket.terminate()
    throw new Error('the handshake was accepted')
  }
  let body = ''
  for await (const chunk of response) body += chunk
  return { status: response.statusCode ?? 0, headers: response.headers, body }
}

export interface Accepted extends Peer {
  readonly request: IncomingMessage
}

export interface SocketService {
  readonly url: string
  /** The first, past or future, whose target holds `part`. */
  accepted(part: string): Promise<Accepted>
  readonly connections: () => number
  close(): Promise<void>
}

export type SocketServiceOptions = ServerOptions & {
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly onSocket?: (accepted: Accepted) => void
}

/** A `ws` server; answers 200 to what is no handshake. */
export async function socketService(options: SocketServiceOptions = {}): Promise<SocketService> {
  const { tls, onSocket, ...more } = options
  const plain: http.RequestListener = (request, response) => response.end(`plain ${request.url}`)
  const server = tls === undefined ? http.createServer(plain) : https.createServer(tls, plain)
  const sockets = new WebSocketServer({ ...more, server })
  // One for each test that waits
  sockets.setMaxListeners(0)
  const arrived: Accepted[] = []
  let connections = 0
  server.on('connection', () => connections++)
  sockets.on('connection', (socket, request) => {
    const accepted = { ...peerOf(socket), request }
    arrived.push(accepted)
    onSocket?.(accepted)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    connections: () => connections,
    async accepted(part) {
      const end = Date.now() + PATIENCE
      for (;;) {
        const found = arrived.find(({ request }) => request.url?.includes(part))
        if (found !== undefined) return found
        await once(sockets, 'connection', { signal: AbortSignal.timeout(Math.max(1, end - Date.now())) })
      }
    },
    async close() {
      for (const socket of sockets.clients) socket.terminate()
      sockets.close()
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Both ends of one WebSocket through a gateway. */
export async function pair(
  url: string,
  service: SocketService,
  options: ConnectOptions = {},
): Promise<{ client: Peer; server: Accepted }> {
  const target = tagged(url)
  const [client, server] = await Promise.all([connect(target.url, options), service.accepted(target.tag)])
  return { client, server }
}

let tags = 0

/** An address that no other connection of this process asks for. */
export function tagged(url: string): { url: string; tag: string } {
  const tag = `pair=${++tags}.`
  return { url: `${url}${url.includes('?') ? '&' : '?'}${tag}`, tag }
}

/** Sends back what it hears, as it heard it. */
export function echo({ socket }: Accepted): void {
  socket.on('message', (data, binary) => socket.send(data, { binary }))
}
