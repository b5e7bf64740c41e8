import type { IncomingMessage } from 'node:http'

export interface Caller {
  company: string
  user: string
}

/**
 * Who is asking, by the headers that the gateway adds after it has removed the client's own. Each counts
 * only when it is there exactly once: with two lines nobody can tell which one the gateway wrote.
 */
export function callerOf(request: IncomingMessage): Caller | { missing: string } {
  const company = soleValue(request, 'x-company-id')
  if (company === undefined) return { missing: 'x-company-id' }
  const user = soleValue(request, 'x-user-id')
  if (user === undefined) return { missing: 'x-user-id' }
  return { company, user }
}

function soleValue(request: IncomingMessage, name: string): string | undefined {
  const lines = request.headersDistinct[name]
  return lines?.length === 1 && lines[0] !== '' ? lines[0] : undefined
}
