/** A client on Node's own HTTP/2: one request, and everything that came back for it. */

import { once } from 'node:events'
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'

export interface Http2Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  readonly text: string
  /** Of 1xx answers, in order. */
  readonly early: readonly IncomingHttpHeaders[]
  readonly trailers: IncomingHttpHeaders
  /** How the stream was closed; 0: without an error. */
  readonly code: number
}

/** A session that is connected. It never throws: what breaks it shows in its requests, and in its `closed`. */
export async function openSession(
  url: string,
  options: ClientSessionOptions | SecureClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  const session = http2.connect(url, { rejectUnauthorized: false, ...options })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

/** Sends a request, with its whole body if there is one. */
export function request(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<Http2Answer> {
  const stream = session.request(headers, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  return answerTo(stream)
}

/** What comes back on a stream, up to its close. */
export function answerTo(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const chunks: Buffer[] = []
  const early: IncomingHttpHeaders[] = []
  let headers: IncomingHttpHeaders = {}
  let trailers: IncomingHttpHeaders = {}
  stream.on('headers', section => early.push(section))
  stream.on('response', section => {
    headers = section
  })
  stream.on('trailers', section => {
    trailers = section
  })
  stream.on('data', chunk => chunks.push(chunk as Buffer))
  stream.on('error', () => {})
  return new Promise(resolve => {
    stream.on('close', () => {
      const body = Buffer.concat(chunks)
      resolve({
        status: Number((headers as Record<string, unknown>)[':status'] ?? 0),
        headers,
        body,
        text: body.toString(),
        early,
        trailers,
        code: stream.rstCode,
      })
    })
  })
}

/** How the server took leave: the code of its last GOAWAY, or null when it sent none. Resolves with the connection's end. */
export async function goodbyeOf(session: ClientHttp2Session): Promise<number | null> {
  let code: number | null = null
  session.on('goaway', said => {
    code = said
  })
  if (!session.destroyed) await once(session, 'close')
  return code
}
