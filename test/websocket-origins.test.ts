/** Whose WebSockets are taken: those of allowed origins, under the identity that the token proves. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, type RawAnswer, wholeAnswer } from './support/raw.ts'
import { claims, token } from './support/token.ts'
import { pair, refusal, type SocketService, socketService } from './support/websocket.ts'
import { frame, handshake, type Lines, TEXT } from './support/websocket-frames.ts'

const APP = 'https://app.example.com'

let gateway: GatewayProcess
let service: SocketService

before(async () => {
  service = await socketService()
  gateway = await startConfigured({
    cors: { origins: [APP], originPatterns: ['https://app-*-team.example.app'] },
    routes: [
      { path: '/live/*', upstream: service.url, claimHeaders: { 'X-Role': 'role' } },
      { path: '/open/*', auth: 'none', upstream: service.url },
      { path: '/optional/*', auth: 'optional', upstream: service.url },
      { path: '/own/*', upstream: service.url, cors: { origins: ['https://other.example.com'] } },
      { path: '/closed/*', upstream: service.url, cors: false },
    ],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await service?.close()
})

const url = (path: string): string => gateway.url + path

/** The answer to a handshake with these lines over a valid one; a 101 is cut as soon as it is there. */
async function asked(path: string, lines: Lines): Promise<RawAnswer> {
  const request = handshake(path, {
    Host: `127.0.0.1:${gateway.port}`,
    Authorization: `Bearer ${token()}`,
    ...lines,
  })
  return exchangeRaw(gateway.port, request, { until: wholeAnswer, wait: 8_000 })
}

describe('the identity', () => {
  const SPOOFED = {
    'X-Company-ID': 'globex',
    'x-company-id': 'globex',
    X_User_ID: 'mallory',
    'X-User-ID': 'mallory',
    'X-User-Email': 'mallory@globex.example',
    'X-Role': 'admin',
    'X-Forwarded-For': '203.0.113.9',
    'X-Forwarded-Proto': 'https',
  }

  test('is that of the token, once, whatever the client says', async () => {
    const { client, server } = await pair(url('/live/x'), service, { headers: SPOOFED })
    const { rawHeaders } = server.request
    const values = (name: string): string[] =>
      rawHeaders.filter((_, index) => rawHeaders[index - 1]?.toLowerCase() === name && index % 2 === 1)
    assert.deepEqual(values('x-company-id'), ['acme'])
    assert.deepEqual(values('x-user-id'), ['7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11'])
    assert.deepEqual(values('x-user-email'), ['ana@acme.example'])
    assert.deepEqual(values('x-role'), ['authenticated'])
    assert.deepEqual(values('x-forwarded-for'), ['127.0.0.1'])
    assert.deepEqual(values('x-forwarded-proto'), ['http'])
    assert.equal(values('x-request-id').length, 1)
    assert.ok(!/globex|mallory|203\.0\.113/.test(rawHeaders.join('\n')), rawHeaders.join('\n'))
    client.socket.close()
  })

  test('cannot be removed by naming its headers in Connection', async () => {
    const target = '/live/named?named=1'
    const answer = await asked(target, {
      Connection: 'Upgrade, X-Company-ID, X-User-ID',
      'X-Company-ID': 'globex',
    })
    assert.equal(answer.status, 101)
    const { request } = await service.accepted('named=1')
    assert.equal(request.headers['x-company-id'], 'acme')
    assert.equal(request.headers['x-user-id'], '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11')
  })

  for (const path of ['/open/x', '/optional/x']) {
    test(`is nobody's on ${path} without a token`, async () => {
      const { client, server } = await pair(url(path), service, { headers: SPOOFED, token: null })
      const text = server.request.rawHeaders.join('\n')
      assert.ok(!/globex|mallory|x-company-id|x-user-|x-role/i.test(text), text)
      client.socket.close()
    })
  }

  test('of a token without a company is refused before the upstream hears of it', async () => {
    const connections = service.connections()
    const { status } = await refusal(url('/live/x'), { token: token(claims({ app_metadata: {} })) })
    assert.equal(status, 403)
    assert.equal(service.connections(), connections)
  })

  test('does not come from cookies or the query', async () => {
    const signed = token()
    const { status } = await refusal(url(`/live/x?access_token=${signed}&token=${signed}`), {
      token: null,
      headers: { Cookie: `access_token=${signed}` },
    })
    assert.equal(status, 401)
  })
})

describe('an origin', () => {
  const allowed: [string, string, Lines][] = [
    ['none, as of programs', '/live/x', {}],
    ['that is listed', '/live/x', { Origin: APP }],
    ['that fits a pattern', '/live/x', { Origin: 'https://app-42-team.example.app' }],
    ["that is listed on the route's own list", '/own/x', { Origin: 'https://other.example.com' }],
    ['that is listed, where no token is needed', '/open/x', { Origin: APP }],
    ['none, where a route has no CORS', '/closed/x', {}],
  ]
  for (const [what, path, lines] of allowed) {
    test(`${what}, is let in at ${path}`, async () => {
      assert.equal((await asked(path, lines)).status, 101)
    })
  }

  for (const path of ['/live/x', '/closed/x']) {
    test(`that is the gateway's own is let in at ${path}`, async () => {
      const own = `http://127.0.0.1:${gateway.port}`
      assert.equal((await asked(path, { Origin: own })).status, 101)
      const named = { Origin: 'http://gateway.test:8080', Host: 'gateway.test:8080' }
      assert.equal((await asked(path, named)).status, 101)
    })
  }

  const foreign: [string, string, Lines][] = [
    ['that is foreign', '/live/x', { Origin: 'https://evil.example' }],
    ['that is foreign, where no token is needed', '/open/x', { Origin: 'https://evil.example' }],
    ['that is foreign, where a route has no CORS', '/closed/x', { Origin: APP }],
    ["that is listed, but not on the route's own list", '/own/x', { Origin: APP }],
    ['null', '/live/x', { Origin: 'null' }],
    ['null, where no token is needed', '/open/x', { Origin: 'null' }],
    ['that is empty', '/live/x', { Origin: '' }],
    ['of another scheme', '/live/x', { Origin: 'http://app.example.com' }],
    ['of another port', '/live/x', { Origin: `${APP}:8443` }],
    ['that begins like an allowed one', '/live/x', { Origin: `${APP}.evil.example` }],
    ['that ends like an allowed one', '/live/x', { Origin: 'https://evilapp.example.com' }],
    ['with a path', '/live/x', { Origin: `${APP}/` }],
    ['beyond the pattern', '/live/x', { Origin: 'https://app-a.b-team.example.app' }],
    ['said twice, one of them allowed', '/live/x', { Origin: [APP, 'https://evil.example'] }],
    ['said twice, the allowed one last', '/live/x', { Origin: ['https://evil.example', APP] }],
    ['of several, one of them allowed', '/live/x', { Origin: `https://evil.example ${APP}` }],
    ['of the same host on another port', '/live/x', { Origin: 'http://127.0.0.1:1' }],
    [
      'that X-Forwarded-Host claims to be our own',
      '/live/x',
      {
        Origin: 'http://evil.example',
        'X-Forwarded-Host': 'evil.example',
      },
    ],
  ]
  for (const [what, path, lines] of foreign) {
    test(`${what} is refused at ${path}, and the upstream does not hear of it`, async () => {
      const connections = service.connections()
      const { text } = await asked(path, lines)
      const answer = assertProblem(text, [403, 400])
      if (typeof lines.Origin === 'string') assert.deepEqual(answer.values('access-control-allow-origin'), [])
      if (answer.status === 403) assert.match(answer.body, /"code":"cors_origin"/)
      assert.equal(service.connections(), connections)
    })
  }

  test('that is allowed may read why it is refused', async () => {
    const { text } = await asked('/live/x', { Origin: APP, Authorization: undefined })
    const answer = assertProblem(text, [401])
    assert.deepEqual(answer.values('access-control-allow-origin'), [APP])
    assert.match(answer.values('vary').join(), /origin/i)
  })

  test('that is foreign is refused even with a valid token and pipelined frames', async () => {
    const request = handshake('/live/x', {
      Origin: 'https://evil.example',
      Authorization: `Bearer ${token()}`,
    })
    const connections = service.connections()
    const bytes = Buffer.concat([Buffer.from(request), frame(TEXT, 'smuggled', { masked: true })])
    // The empty line ends what is left of the frame, read as a request
    const { text, end } = await exchangeRaw(gateway.port, Buffer.concat([bytes, Buffer.from('\r\n\r\n')]))
    assert.equal(parseAnswer(text).status, 403)
    assert.notEqual(end, 'open')
    assert.equal(service.connections(), connections)
  })
})
