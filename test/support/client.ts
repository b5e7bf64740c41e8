/** A plain HTTP client: one connection per request, every header line kept, nothing followed, nothing decoded. */

import http from 'node:http'

export interface SendOptions {
  readonly method?: string
  /** An array sends one line per value. Names keep their letter case. */
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
  readonly agent?: http.Agent
  /** Milliseconds for the whole exchange (15,000). */
  readonly within?: number
}

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** Values of one field, a line each. */
  values(name: string): string[]
  readonly body: Buffer
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json(): any
}

/** One request, its answer whole. Rejects when the connection breaks or time is up. */
export async function send(url: string, options: SendOptions = {}): Promise<Answer> {
  const { request, answered } = open(url, options)
  request.end(options.body)
  const response = await answered
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    values: name => valuesOf(response.rawHeaders, name),
    body,
    text: body.toString(),
    json: () => JSON.parse(body.toString()),
  }
}

/** The same with both bodies as streams: the caller ends the request and reads the answer. */
export function open(
  url: string,
  options: SendOptions = {},
): { request: http.ClientRequest; answered: Promise<http.IncomingMessage> } {
  const request = http.request(url, {
    method: options.method ?? 'GET',
    headers: options.headers ?? {},
    agent: options.agent ?? false,
    signal: AbortSignal.timeout(options.within ?? 15_000),
  })
  const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
    request.once('response', resolve)
    request.on('error', reject)
  })
  // Whoever does not wait for an answer must not fail by it
  answered.catch(() => {})
  return { request, answered }
}

export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter(
    (_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name.toLowerCase(),
  )
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}
