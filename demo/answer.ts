import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'

/** Waits until the next token is to be made; `sent` were already. Ends early, or fails, when the client has left. */
export type Pace = (sent: number, left: AbortSignal) => Promise<void>

const usualPace: Pace = (_, left) => delay(30, undefined, { signal: left })

export const eventStream = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache',
}

/** The made-up answer, cut where a language model would roughly cut it: 25 to 37 tokens. */
export function answerTokens(question: string, company: string): string[] {
  const words = question.trim().split(/\s+/)
  const quoted = words.length > 12 ? `${words.slice(0, 12).join(' ')}…` : words.join(' ')
  const text =
    `You asked: "${quoted}" These words are made up, but they arrive one by one, ` +
    `through the gateway, and only ${company} can see them: the token said so.`
  return text.match(/\S+\s*/g) ?? []
}

/**
 * Streams the tokens as server-sent events and ends with the event `done`. Returns how many tokens were
 * sent: fewer than given when the client left, because nobody pays for words that nobody reads.
 */
export async function streamAnswer(
  response: ServerResponse,
  left: AbortSignal,
  tokens: string[],
  company: string,
  pace: Pace = usualPace,
): Promise<number> {
  response.writeHead(200, eventStream)
  // Out now, not with the first token: the client learns at once that its question was accepted.
  response.flushHeaders()
  let sent = 0
  for (const text of tokens) {
    await pace(sent, left).catch(() => {})
    if (left.aborted) return sent
    response.write(event('token', { text }))
    sent += 1
  }
  response.end(event('done', { company_id: company, tokens: sent }))
  return sent
}

function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
