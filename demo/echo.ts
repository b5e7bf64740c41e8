import type { IncomingMessage, ServerResponse } from 'node:http'
import { StringDecoder } from 'node:string_decoder'
import { sendJson } from './json.ts'

const shownBytes = 4 * 1024

/** Answers with the request as it arrived, every header line in its order; a long body is only counted. */
export async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const kept: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if (size < shownBytes) kept.push(chunk.subarray(0, shownBytes - size))
    size += chunk.length
  }
  sendJson(response, 200, {
    method: request.method,
    target: request.url,
    http_version: request.httpVersion,
    headers: pairs(request.rawHeaders),
    body_size: size,
    // The decoder keeps back a character that the cut went through.
    body: new StringDecoder('utf8').write(Buffer.concat(kept)),
    trailers: pairs(request.rawTrailers),
  })
}

function pairs(raw: string[]): [name: string, value: string][] {
  const lines: [string, string][] = []
  for (let at = 0; at + 1 < raw.length; at += 2) lines.push([raw[at] ?? '', raw[at + 1] ?? ''])
  return lines
}
