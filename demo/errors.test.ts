import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { decodeJwt } from 'jose'
import { assertProblem } from '../test/support/problem.ts'
import { commandBelow, needsCurl, paste, startDemo, untilReady } from './demo-process.ts'

interface Expected {
  status: number
  detail: string | RegExp
  authenticate?: string
  allow?: string
}

const invalid = 'Bearer error="invalid_token"'
const described = (text: string) => `${invalid}, error_description="${text}"`
const noCompany = 'User authenticated, but company association is missing in token.'
const missing = (claims: string): Expected => ({
  status: 401,
  detail: `Token missing required claims: ${claims}`,
  authenticate: invalid,
})

/** What clients rely on, in the order in which the demo shows it; keys are words of its comments. */
const answers: Record<string, Expected> = {
  'no bearer token': { status: 401, detail: 'Not authenticated', authenticate: 'Bearer' },
  'bad signature': {
    status: 401,
    detail: 'Invalid token signature.',
    authenticate: described('Invalid signature'),
  },
  expired: { status: 401, detail: 'Token has expired.', authenticate: described('The token has expired') },
  'wrong audience': {
    status: 401,
    detail: 'Invalid token audience.',
    authenticate: described("Invalid audience, expected 'authenticated'"),
  },
  'no sub': missing('sub'),
  'no aud': missing('aud'),
  'no exp': missing('exp'),
  'none of the three': missing('sub, aud, exp'),
  'a token that is none': { status: 401, detail: /^Token validation failed: ./, authenticate: invalid },
  'not valid before': { status: 401, detail: /^Token validation failed: .*\(nbf\)$/, authenticate: invalid },
  'no company': { status: 403, detail: noCompany },
  'an empty company': { status: 403, detail: noCompany },
  'unknown path': { status: 404, detail: 'Not Found' },
  'method not allowed': { status: 405, detail: 'Method Not Allowed', allow: 'GET, HEAD' },
  'auth service not configured': {
    status: 501,
    detail: 'Authentication endpoint proxy not configured in the gateway.',
  },
  'upstream unreachable': { status: 503, detail: 'Upstream service unavailable.' },
  'upstream too slow': { status: 504, detail: 'Upstream service timeout.' },
  'gateway not ready': {
    status: 503,
    detail: 'Gateway service is temporarily unavailable (client error).',
  },
  'fault in the gateway': { status: 500, detail: 'An internal server error occurred.' },
}

describe('errors of the demo', { skip: await needsCurl(), timeout: 60_000 }, () => {
  let demo: ChildProcess
  let page = ''
  before(async () => {
    demo = startDemo(0)
    page = await paste(commandBelow(await untilReady(demo), 'every error'))
  })
  after(() => demo.kill('SIGKILL'))

  it('are on a page, each with the status that it gives', () => {
    const comments = [...page.matchAll(/^# (.+)\ncurl /gm)].map(([, comment = '']) => comment)
    const expected = Object.entries(answers)
    assert.equal(comments.length, expected.length)
    for (const [index, [words, { status }]] of expected.entries()) {
      const comment = comments[index] ?? ''
      assert.ok(comment.startsWith(words), `"${comment}" is not about "${words}"`)
      assert.ok(comment.endsWith(`: ${status}`), comment)
    }
  })

  for (const [words, expected] of Object.entries(answers)) {
    it(`are answered when pasted: ${words}`, async () => {
      const output = await paste(commandBelow(page, words))
      const answer = assertProblem(output, [expected.status])
      const { detail } = JSON.parse(answer.body) as { detail: string }
      if (typeof expected.detail === 'string') assert.equal(detail, expected.detail)
      else assert.match(detail, expected.detail)
      assert.deepEqual(answer.values('www-authenticate'), only(expected.authenticate))
      assert.deepEqual(answer.values('allow'), only(expected.allow))
      assert.doesNotMatch(output, /on purpose/, 'what is broken inside is for the log')
    })
  }

  it('have the company that the comment says where the answer cannot show it', () => {
    const company = (words: string) => {
      const [, token = ''] = /'Authorization: Bearer ([^']+)'/.exec(commandBelow(page, words)) ?? []
      return (decodeJwt(token).app_metadata as { company_id?: unknown }).company_id
    }
    assert.equal(company('expired'), 'acme')
    assert.equal(company('bad signature'), 'globex')
    assert.equal(company('no company'), undefined)
    assert.equal(company('an empty company'), '')
  })

  it('take no longer than the route allows when the upstream is slow', async () => {
    const answer = assertProblem(await paste(commandBelow(page, 'upstream too slow')), [504])
    const seconds = Number(answer.values('x-process-time')[0])
    assert.ok(seconds > 0.9 && seconds < 5, `${seconds} s`)
  })

  it('can be run all at once, as the page says', async () => {
    const [, line = ''] = /^# (curl .+\| sh)$/m.exec(page) ?? []
    const statuses = [...(await paste(line)).matchAll(/^HTTP\/1\.1 (\d+) /gm)].map(match => Number(match[1]))
    assert.deepEqual(
      statuses,
      Object.values(answers).map(({ status }) => status),
    )
  })

  it('come with tokens that are fresh each time the page is asked for', async () => {
    const { address } = /(?<address>http:\S+\/demo\/errors)/.exec(page)?.groups ?? {}
    const again = await (await fetch(address ?? '')).text()
    assert.notEqual(commandBelow(again, 'expired'), commandBelow(page, 'expired'))
    assert.equal(commandBelow(again, 'unknown path'), commandBelow(page, 'unknown path'))
  })
})

function only(value: string | undefined): string[] {
  return value === undefined ? [] : [value]
}
