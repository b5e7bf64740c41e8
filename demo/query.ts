import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { answerTokens, eventStream, type Pace, streamAnswer } from './answer.ts'
import { callerOf } from './caller.ts'
import { echo } from './echo.ts'
import { createEvents } from './events.ts'
import { readJson, sendDetail, sendJson, sendUnprocessable, splitTarget } from './json.ts'
import { createLive } from './live.ts'
import { type RunningService, type ServiceOptions, startService } from './service.ts'

const prefix = '/api/v1/query/'
const longestDelay = 10 * 60 * 1_000

export interface QueryOptions extends ServiceOptions {
  /** Of the tokens of answers; 30 ms apart by default. */
  readonly pace?: Pace
}

/**
 * The query service: answers questions token by token (`ask`), tells news as they come (`events`, and `live` over a
 * WebSocket), and shows a gateway's doings from the upstream's side (`echo`, `status/:code`, `slow`).
 */
export async function startQuery(options: QueryOptions = {}): Promise<RunningService> {
  const live = createLive(line => options.report?.(line))
  const events = createEvents()
  const service = await startService('query', handle, options, {
    wants: request =>
      request.headers.upgrade?.toLowerCase() === 'websocket' && splitTarget(request).path === `${prefix}live`,
    take: live.upgrade,
  })
  return {
    ...service,
    async close() {
      live.close()
      await service.close()
    },
  }

  async function handle(
    request: IncomingMessage,
    response: ServerResponse,
    left: AbortSignal,
  ): Promise<void> {
    const { path, query } = splitTarget(request)
    if (!path.startsWith(prefix)) return sendDetail(response, 404, 'Not Found')
    const [endpoint, parameter, ...rest] = path.slice(prefix.length).split('/')

    if (endpoint === 'echo') return echo(request, response)
    if (endpoint === 'ask' && parameter === undefined) return ask(request, response, left, query)
    if (endpoint === 'live' && parameter === undefined) {
      return sendDetail(response, 426, 'Upgrade Required', { Connection: 'Upgrade', Upgrade: 'websocket' })
    }
    if (endpoint === 'events' && parameter === undefined) {
      const caller = callerOf(request)
      return 'missing' in caller ? missing(response, caller) : events(request, response, left, query, caller)
    }
    if (endpoint === 'slow' && parameter === undefined) return slow(response, left, query.get('ms'))
    if (endpoint === 'status' && parameter !== undefined && rest.length === 0) {
      return status(response, parameter)
    }
    return sendDetail(response, 404, 'Not Found')
  }

  async function ask(
    request: IncomingMessage,
    response: ServerResponse,
    left: AbortSignal,
    query: URLSearchParams,
  ): Promise<void> {
    let question: unknown
    if (request.method === 'GET' || request.method === 'HEAD') {
      question = query.get('q')
    } else if (request.method === 'POST') {
      const body = await readJson(request)
      if (body.kind === 'too large') return sendDetail(response, 413, 'Request body too large')
      if (body.kind === 'malformed') {
        return sendUnprocessable(response, ['body', 'question'], 'Input should be a JSON object')
      }
      question = body.fields.question
    } else {
      return sendDetail(response, 405, 'Method Not Allowed', { Allow: 'GET, HEAD, POST' })
    }
    if (typeof question !== 'string' || question.trim() === '') {
      const place = request.method === 'POST' ? 'body' : 'query'
      return sendUnprocessable(response, [place, place === 'body' ? 'question' : 'q'], 'Field required')
    }

    const caller = callerOf(request)
    if ('missing' in caller) return missing(response, caller)

    if (request.method === 'HEAD') {
      response.writeHead(200, eventStream).end()
      return
    }
    const { company } = caller
    const tokens = answerTokens(question, company)
    const sent = await streamAnswer(response, left, tokens, company, options.pace)
    options.report?.(
      sent === tokens.length
        ? `${company} got an answer of ${sent} tokens`
        : `${company} left after ${sent} of ${tokens.length} tokens: stopped`,
    )
  }
}

function missing(response: ServerResponse, caller: { missing: string }): void {
  sendUnprocessable(response, ['header', caller.missing], 'Field required')
}

function status(response: ServerResponse, parameter: string): void {
  const code = /^[2-5]\d\d$/.test(parameter) ? Number(parameter) : undefined
  if (code === undefined) {
    sendUnprocessable(response, ['path', 'code'], 'Input should be a status from 200 to 599')
    return
  }
  if (code === 204 || code === 304) {
    response.writeHead(code).end()
    return
  }
  const isRedirect = [301, 302, 303, 307, 308].includes(code)
  const content = { status: code, reason: STATUS_CODES[code] ?? 'Unknown' }
  sendJson(response, code, content, isRedirect ? { Location: `${prefix}echo` } : {})
}

async function slow(response: ServerResponse, left: AbortSignal, parameter: string | null): Promise<void> {
  const milliseconds = parameter !== null && /^\d+$/.test(parameter) ? Number(parameter) : undefined
  if (milliseconds === undefined || milliseconds > longestDelay) {
    return sendUnprocessable(response, ['query', 'ms'], `Input should be a number from 0 to ${longestDelay}`)
  }
  await delay(milliseconds, undefined, { signal: left })
  sendJson(response, 200, { waited_ms: milliseconds })
}
