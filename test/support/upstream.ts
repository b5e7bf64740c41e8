/** A recording upstream on raw sockets: keeps every byte that reached it, answers as told. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

export interface RecordedRequest {
  readonly head: string
  readonly method: string
  readonly target: string
  /** `[lower-case name, value]` in order of arrival. */
  readonly headers: readonly (readonly [string, string])[]
  /** Values of one field. */
  values(name: string): string[]
  readonly socket: Socket
}

export interface RecordingUpstream {
  readonly url: string
  readonly port: number
  /** Every request head so far. */
  readonly requests: RecordedRequest[]
  /** Every byte so far, of all connections. */
  readonly bytes: () => string
  readonly connections: () => number
  /** Open connections right now. */
  readonly sockets: ReadonlySet<Socket>
  /** Resolves with the next request head. */
  next(): Promise<RecordedRequest>
  close(): Promise<void>
}

/** Answers one request; gets its head and the socket. May answer in pieces, badly, or not at all. */
export type Answerer = (request: RecordedRequest) => void

export const OK = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'

export function answerWith(text: string): Answerer {
  return ({ socket }) => {
    socket.write(text, 'latin1')
  }
}

/** Heads are recognised by their empty line; a body with an empty line in it may look like another head. */
export async function recordingUpstream(answer: Answerer = answerWith(OK)): Promise<RecordingUpstream> {
  const requests: RecordedRequest[] = []
  const sockets = new Set<Socket>()
  const waiting: ((request: RecordedRequest) => void)[] = []
  let bytes = ''
  let connections = 0
  const server = net.createServer(socket => {
    connections++
    sockets.add(socket)
    let pending = ''
    socket.on('data', chunk => {
      const text = chunk.toString('latin1')
      bytes += text
      pending += text
      for (let end = pending.indexOf('\r\n\r\n'); end !== -1; end = pending.indexOf('\r\n\r\n')) {
        const head = pending.slice(0, end)
        pending = pending.slice(end + 4)
        if (!/^[A-Z]+ \S+ HTTP\/1\.1(?:\r\n|$)/.test(head)) continue
        const request = record(head, socket)
        requests.push(request)
        waiting.shift()?.(request)
        answer(request)
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    bytes: () => bytes,
    connections: () => connections,
    sockets,
    next: () => new Promise(resolve => waiting.push(resolve)),
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function record(head: string, socket: Socket): RecordedRequest {
  const [line = '', ...lines] = head.split('\r\n')
  const [method = '', target = ''] = line.split(' ')
  const headers = lines.map(text => {
    const colon = text.indexOf(':')
    return [text.slice(0, colon).toLowerCase(), text.slice(colon + 1).trim()] as const
  })
  return {
    head,
    method,
    target,
    headers,
    values: name => headers.filter(([own]) => own === name.toLowerCase()).map(([, value]) => value),
    socket,
  }
}
