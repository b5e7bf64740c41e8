import { request } from 'node:http'
import type { Contender, Running } from './contender.ts'
import { COMPANY, EMAIL, token, USER, unsignedToken } from './token.ts'
import { ANSWER, ANSWER_PATH, ECHO_PATH } from './upstream/small.ts'

// A contender is measured only after it has shown that it does the whole work: otherwise the fastest one
// would be the one that forgets to check something.

type Answer = { status: number; body: string }
type Echo = { headers: [string, string][]; requestsOnConnection: number }

const SPOOFED = { 'X-Company-ID': 'evil', 'x-user-id': 'evil', 'X-USER-EMAIL': 'evil@example.com' }

/** Every breach of the contract by a running contender, in words; empty when it does its work. */
export async function breaches(contender: Contender, { port }: Running): Promise<string[]> {
  const checks = [forwards, reuses, ...(contender.authenticates ? [refuses, identifies, strips] : [])]
  const found: string[] = []
  for (const check of checks) found.push(...(await check(port)))
  return found
}

async function forwards(port: number): Promise<string[]> {
  const answer = await ask(port, ANSWER_PATH, bearer(token()))
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

async function refuses(port: number): Promise<string[]> {
  const past = Math.floor(Date.now() / 1000) - 3600
  const hopeless: [string, Record<string, string>, number][] = [
    ['no token', {}, 401],
    ['a wrong signature', bearer(token({}, 'another secret')), 401],
    ['no signature', bearer(unsignedToken()), 401],
    ['an expired token', bearer(token({ exp: past })), 401],
    ['a token without exp', bearer(token({ exp: undefined })), 401],
    ['another audience', bearer(token({ aud: 'anon' })), 401],
    ['no company', bearer(token({ app_metadata: {} })), 403],
  ]
  const found: string[] = []
  for (const [what, headers, status] of hopeless) {
    const answer = await ask(port, ANSWER_PATH, headers)
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

async function echo(port: number, headers: Record<string, string>): Promise<Echo> {
  const answer = await ask(port, ECHO_PATH, headers)
  if (answer.status !== 200) throw new Error(`the echo answers ${answer.status}: ${answer.body}`)
  return JSON.parse(answer.body) as Echo
}

function ask(port: number, path: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const question = request(
      { port, path, headers, host: '127.0.0.1', agent: false, timeout: 5000 },
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
    question.end()
  })
}

function bearer(value: string): Record<string, string> {
  return { Authorization: `Bearer ${value}` }
}
