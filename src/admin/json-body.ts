/** What the admin port takes and says in JSON. */

import type { IncomingMessage } from 'node:http'

const MAX_BODY_BYTES = 4_096

export interface AdminReply {
  readonly status: number
  readonly body: object | null
}

export const NO_CONTENT: AdminReply = { status: 204, body: null }

export function problem(status: number, title: string, detail: string): AdminReply {
  return { status, body: { type: 'about:blank', title, status, detail } }
}

/** The JSON of a request, `undefined` where it is none; or why it is not even looked at. */
export async function jsonBody(request: IncomingMessage): Promise<{ readonly json: unknown } | AdminReply> {
  // Browsers send JSON to foreign places only after a preflight, which nothing here answers.
  if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type'] ?? '')) {
    return problem(415, 'Unsupported Media Type', 'Send application/json.')
  }
  const text = await boundedText(request)
  if (text === null) return problem(413, 'Content Too Large', `At most ${MAX_BODY_BYTES} bytes.`)
  return { json: jsonOf(text) }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @returns null when it is longer than anybody needs */
async function boundedText(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
