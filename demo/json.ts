import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'

export function sendJson(
  response: ServerResponse,
  status: number,
  content: unknown,
  headers: OutgoingHttpHeaders = {},
): void {
  const body = Buffer.from(JSON.stringify(content))
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...headers,
  })
  response.end(body)
}

/** An error as a FastAPI service words it: `{"detail": "Not Found"}`. */
export function sendDetail(
  response: ServerResponse,
  status: number,
  detail: string,
  headers: OutgoingHttpHeaders = {},
): void {
  sendJson(response, status, { detail }, headers)
}

/** FastAPI's answer to a value that is absent or makes no sense, with the place where it was expected. */
export function sendUnprocessable(
  response: ServerResponse,
  place: [where: 'header' | 'path' | 'query' | 'body', name: string],
  message: string,
): void {
  sendJson(response, 422, { detail: [{ type: 'value_error', loc: place, msg: message }] })
}

export function splitTarget(request: IncomingMessage): { path: string; query: URLSearchParams } {
  const target = request.url ?? '/'
  const mark = target.indexOf('?')
  return mark === -1
    ? { path: target, query: new URLSearchParams() }
    : { path: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) }
}

export type JsonBody =
  | { kind: 'object'; fields: Record<string, unknown> }
  | { kind: 'too large' }
  | { kind: 'malformed' }

/** Reads a small JSON object; anything beyond `limit` bytes is left unread. */
export async function readJson(request: IncomingMessage, limit?: number): Promise<JsonBody> {
  const text = await readText(request, limit)
  if (text === null) return { kind: 'too large' }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return { kind: 'malformed' }
    return { kind: 'object', fields: value as Record<string, unknown> }
  } catch {
    return { kind: 'malformed' }
  }
}

/** Null when there are more bytes than that. */
export async function readText(request: IncomingMessage, limit = 64 * 1024): Promise<string | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
