import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Caller, callerOf } from './caller.ts'
import { Documents } from './documents.ts'
import { sendDetail, sendJson, sendUnprocessable, splitTarget } from './json.ts'
import { type RunningService, type ServiceOptions, startService } from './service.ts'

const prefix = '/api/v1/ingest/'

/**
 * The ingest service: measures and hashes uploads as they stream by, and lists what a company has sent.
 * Who is asking is what the gateway says in `X-Company-ID` and `X-User-ID`, and nothing else.
 */
export async function startIngest(options: ServiceOptions = {}): Promise<RunningService> {
  const documents = new Documents()

  return startService('ingest', (request, response) => handle(request, response), options)

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path } = splitTarget(request)
    if (!path.startsWith(prefix)) return sendDetail(response, 404, 'Not Found')

    const caller = callerOf(request)
    if ('missing' in caller) return sendUnprocessable(response, ['header', caller.missing], 'Field required')

    if (request.method === 'POST' || request.method === 'PUT') {
      return receive(request, response, caller, path.slice(prefix.length))
    }
    if ((request.method === 'GET' || request.method === 'HEAD') && path === `${prefix}documents`) {
      return sendJson(response, 200, {
        company_id: caller.company,
        documents: documents.of(caller.company),
      })
    }
    return sendDetail(response, 404, 'Not Found')
  }

  async function receive(
    request: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
    name: string,
  ): Promise<void> {
    const hash = createHash('sha256')
    let size = 0
    try {
      // The loop asks for the next chunk only when this one is hashed: a slow reader slows its sender.
      for await (const chunk of request as AsyncIterable<Buffer>) {
        size += chunk.length
        hash.update(chunk)
      }
    } catch {
      // Only a client that left breaks a request's body; there is nobody to answer.
      options.report?.(`${caller.company} left after ${size} bytes of an upload`)
      return
    }
    const sha256 = hash.digest('hex')
    const contentType = request.headers['content-type'] ?? null
    documents.add(caller.company, {
      name,
      size,
      sha256,
      content_type: contentType,
      user_id: caller.user,
      received_at: new Date().toISOString(),
    })
    sendJson(response, 201, {
      size,
      sha256,
      company_id: caller.company,
      user_id: caller.user,
      content_type: contentType,
    })
    options.report?.(`${caller.company} uploaded ${size} bytes`)
  }
}
