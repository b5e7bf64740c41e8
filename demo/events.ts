import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { eventStream } from './answer.ts'
import type { Caller } from './caller.ts'
import { sendUnprocessable } from './json.ts'

const interval = 1_000
/** Of what a client has missed, it gets so much. */
const mostMissed = 100

/**
 * An endless stream of events, one a second, the same for everybody at the same time. An event's `id` is its number
 * since the start, so that a client that was away gets what it has missed and nothing twice.
 */
export function createEvents() {
  const start = performance.now()
  const current = (): number => Math.floor((performance.now() - start) / interval)

  return async function events(
    request: IncomingMessage,
    response: ServerResponse,
    left: AbortSignal,
    query: URLSearchParams,
    { company }: Caller,
  ): Promise<void> {
    // A browser repeats the header by itself when its connection breaks. One that needs a new ticket has to start
    // anew, and then it can send no header.
    const last = request.headers['last-event-id'] ?? query.get('last_event_id') ?? ''
    if (last !== '' && !/^\d{1,15}$/.test(String(last))) {
      return sendUnprocessable(response, ['header', 'last-event-id'], 'Input should be a number')
    }
    const now = current()
    let next = last === '' ? now : Math.max(Math.min(Number(last), now) + 1, now - mostMissed)
    response.writeHead(200, eventStream)
    if (request.method === 'HEAD') return void response.end()
    response.write(`retry: ${interval}\n\n`)
    for (;;) {
      for (; next <= current(); next += 1) {
        const data = JSON.stringify({ number: next, company_id: company, at: new Date().toISOString() })
        response.write(`id: ${next}\nevent: tick\ndata: ${data}\n\n`)
      }
      const untilNext = start + next * interval - performance.now()
      await delay(Math.max(1, untilNext), undefined, { signal: left }).catch(() => {})
      if (left.aborted) return
    }
  }
}
