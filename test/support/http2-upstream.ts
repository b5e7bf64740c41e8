/** An upstream on Node's own HTTP/2 server, which knows its connections and every request that came on them. */

import { once } from 'node:events'
import http2, { type SecureServerOptions, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { until } from './until.ts'

export interface Http2Request {
  readonly method: string
  readonly path: string
  /** Flat, in order of arrival, pseudo-header fields included. */
  readonly fields: readonly string[]
  readonly stream: ServerHttp2Stream
  readonly session: ServerHttp2Session
  /** Values of one field. */
  values(name: string): string[]
  /** The body to its end, as text. */
  text(): Promise<string>
}

export interface Http2Upstream {
  readonly url: string
  readonly requests: Http2Request[]
  /** Those that are open now. */
  readonly sessions: ReadonlySet<ServerHttp2Session>
  /** Connections so far. */
  readonly connections: () => number
  /** The most requests that were open at a time. */
  readonly busiest: () => number
  /** Resolves with the next request. */
  next(): Promise<Http2Request>
  /** Resolves once no request is open. */
  quiet(): Promise<void>
  close(): Promise<void>
}

export type Http2Service = (request: Http2Request) => void | Promise<void>

export async function http2Upstream(
  service: Http2Service,
  options: SecureServerOptions = {},
): Promise<Http2Upstream> {
  const requests: Http2Request[] = []
  const sessions = new Set<ServerHttp2Session>()
  const waiting: ((request: Http2Request) => void)[] = []
  let connections = 0
  let open = 0
  let busiest = 0
  const secure = options.cert !== undefined
  const server = secure ? http2.createSecureServer(options) : http2.createServer(options)
  server.on('session', session => {
    connections++
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  server.on('sessionError', () => {})
  server.on('stream', (stream: ServerHttp2Stream, headers, _, fields) => {
    const session = stream.session as ServerHttp2Session
    busiest = Math.max(busiest, ++open)
    stream.on('error', () => {})
    stream.on('close', () => open--)
    const request: Http2Request = {
      method: headers[':method'] ?? '',
      path: headers[':path'] ?? '',
      fields,
      stream,
      session,
      values: name => fields.filter((_, i) => i % 2 === 1 && fields[i - 1] === name),
      async text() {
        const chunks: Buffer[] = []
        for await (const chunk of stream) chunks.push(chunk as Buffer)
        return Buffer.concat(chunks).toString()
      },
    }
    requests.push(request)
    waiting.shift()?.(request)
    void service(request)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `${secure ? 'https' : 'http'}://127.0.0.1:${port}`,
    requests,
    sessions,
    connections: () => connections,
    busiest: () => busiest,
    next: () => new Promise(resolve => waiting.push(resolve)),
    quiet: () => until('no request is open', () => open === 0, 5_000).then(() => {}),
    async close() {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Answers when the request is whole: what it was. */
export async function echo(request: Http2Request): Promise<void> {
  const { method, path, stream } = request
  const text = await request.text()
  stream.respond({ ':status': 200, 'content-type': 'application/json' })
  stream.end(JSON.stringify({ method, path, received: text.length, text: text.slice(0, 65_536) }))
}
