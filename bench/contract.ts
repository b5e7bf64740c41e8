import { request } from 'node:http'
import { type Contender, does, type Running } from './contender.ts'
import type { Expected, Question } from './load/question.ts'
import { COMPANY, EMAIL, token, USER, unsignedToken } from './token.ts'
import { ANSWER, PATHS } from './upstream/service.ts'

// A contender is measured only after it has shown that it does the whole work: otherwise the fastest one
// would be the one that forgets to check something.

type Answer = { status: number; body: string }
type Echo = { headers: [string, string][]; bodyBytes: number; requestsOnConnection: number }

const SPOOFED = { 'X-Company-ID': 'evil', 'x-user-id': 'evil', 'X-USER-EMAIL': 'evil@example.com' }

/** Every breach of the contract by a running contender, in words; empty when it does its work. */
export async function breaches(contender: Contender, { port }: Running): Promise<string[]> {
  const checks = [
    ...(does(contender, 'forward') ? [forwards, reuses, uploads] : []),
    ...(does(contender, 'token') ? [refusesTokens] : []),
    ...(does(contender, 'identity') ? [refusesCompanyless, identifies, strips] : []),
  ]
  const found: string[] = []
  for (const check of checks) found.push(...(await check(port)))
  return found
}

/** The same for the question that a scenario asks: one whole answer, before thousands are judged by their size. */
export async function misanswers(
  { port }: Running,
  question: Question,
  expected: Expected,
): Promise<string[]> {
  const { status, body } = await ask(port, question.path, question.token ? bearer(token()) : {}, {
    method: question.method,
    ...(question.bodyBytes === undefined ? {} : { body: 'x'.repeat(question.bodyBytes) }),
  })
  const wrong =
    ('body' in expected && body !== expected.body) || ('bytes' in expected && body.length !== expected.bytes)
  if (status === expected.status && !wrong) return []
  return [
    `${question.method} ${question.path} gets ${status} with ${body.length} bytes: ${body.slice(0, 200)}`,
  ]
}

async function forwards(port: number): Promise<string[]> {
  const answer = await ask(port, PATHS.small, bearer(token()))
  if (answer.status === 200 && answer.body === ANSWER) return []
  return [
    `a good token gets ${answer.status} ${JSON.stringify(answer.body)} instead of the upstream's answer`,
  ]
}

async function reuses(port: number): Promise<string[]> {
  const first = await echo(port, bearer(token()))
  const second = await echo(port, bearer(token()))
  if (Math.max(first.requestsOnConnection, second.requestsOnConnection) > 1) return []
  return ['it opens a new upstream connection for each request']
}

async function uploads(port: number): Promise<string[]> {
  const body = 'x'.repeat(10_240)
  const { bodyBytes } = await echo(port, bearer(token()), { method: 'POST', body })
  return bodyBytes === body.length
    ? []
    : [`${bodyBytes} of ${body.length} bytes of a body reach the upstream`]
}

async function refusesTokens(port: number): Promise<string[]> {
  const past = Math.floor(Date.now() / 1000) - 3600
  return refuses(port, 401, {
    'no token': {},
    'a wrong signature': bearer(token({}, 'another secret')),
    'no signature': bearer(unsignedToken()),
    'an expired token': bearer(token({ exp: past })),
    'another audience': bearer(token({ aud: 'anon' })),
  })
}

async function refusesCompanyless(port: number): Promise<string[]> {
  return [
    ...(await refuses(port, 401, { 'a token without exp': bearer(token({ exp: undefined })) })),
    ...(await refuses(port, 403, { 'no company': bearer(token({ app_metadata: {} })) })),
  ]
}

async function refuses(
  port: number,
  status: number,
  hopeless: Record<string, Record<string, string>>,
): Promise<string[]> {
  const found: string[] = []
  for (const [what, headers] of Object.entries(hopeless)) {
    const answer = await ask(port, PATHS.small, headers)
    if (answer.status !== status) found.push(`${what} gets ${answer.status} instead of ${status}`)
  }
  return found
}

async function identifies(port: number): Promise<string[]> {
  const { headers } = await echo(port, { ...bearer(token()), ...SPOOFED })
  return [
    ...differs(headers, 'x-company-id', [COMPANY]),
    ...differs(headers, 'x-user-id', [USER]),
    ...differs(headers, 'x-user-email', [EMAIL]),
  ]
}

async function strips(port: number): Promise<string[]> {
  const { headers } = await echo(port, { ...bearer(token({ email: undefined })), ...SPOOFED })
  return differs(headers, 'x-user-email', [])
}

function differs(headers: [string, string][], name: string, expected: string[]): string[] {
  const values = headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
  if (values.join() === expected.join()) return []
  return [`the upstream receives ${name}: [${values.join(', ')}] instead of [${expected.join(', ')}]`]
}

/** Some proxies hand a client's wish to close on to the upstream, which would look like a connection not kept. */
const KEEP_ALIVE = { connection: 'keep-alive' }

type Sent = { method?: string; body?: string }

async function echo(port: number, headers: Record<string, string>, sent: Sent = {}): Promise<Echo> {
  const answer = await ask(port, PATHS.echo, headers, sent)
  if (answer.status !== 200) throw new Error(`the echo answers ${answer.status}: ${answer.body}`)
  return JSON.parse(answer.body) as Echo
}

function ask(port: number, path: string, headers: Record<string, string>, sent: Sent = {}): Promise<Answer> {
  const { method = 'GET', body } = sent
  const length = body === undefined ? {} : { 'content-length': String(body.length) }
  return new Promise((resolve, reject) => {
    const question = request(
      {
        port,
        path,
        method,
        headers: { ...KEEP_ALIVE, ...headers, ...length },
        host: '127.0.0.1',
        agent: false,
        timeout: 5000,
      },
      answer => {
        const parts: Buffer[] = []
        answer.on('data', part => parts.push(part))
        answer.on('error', reject)
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts).toString() }),
        )
      },
    )
    question.on('timeout', () => question.destroy(new Error(`no answer to ${path} within 5 s`)))
    question.on('error', reject)
    question.end(body)
  })
}

function bearer(value: string): Record<string, string> {
  return { Authorization: `Bearer ${value}` }
}
