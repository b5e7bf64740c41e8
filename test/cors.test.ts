/** What browsers of other origins may read: exact origins, explicit patterns, on every answer, and nobody else. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const APP = 'https://app.example.com'
const PREVIEW = 'https://nyro-abc123-team.vercel.app'

let gateway: GatewayProcess
let upstream: RecordingUpstream
let broken: RecordingUpstream

before(async () => {
  upstream = await recordingUpstream(({ target, socket }) => {
    const own = target.includes('/own')
      ? `Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nAccess-Control-Allow-Methods: BREW\r\nAccess-Control-Expose-Headers: X-Upstream\r\nAccess-Control-Max-Age: 9\r\n`
      : ''
    const vary = target.includes('/vary') ? 'Vary: Accept-Encoding\r\n' : ''
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${own}${vary}\r\n{}`)
    if (target.includes('/broken')) socket.destroy()
  })
  broken = await recordingUpstream(({ socket }) => socket.write('HTTP/1.1 099 What\r\n\r\n'))
  gateway = await startConfigured({
    cors: { origins: [APP, 'http://localhost:3000'], originPatterns: ['https://nyro-*-team.vercel.app'] },
    upstreams: { broken: { url: broken.url }, dead: { url: 'http://127.0.0.1:1' } },
    routes: [
      { path: '/public/*', auth: 'none', upstream: upstream.url },
      { path: '/private/*', methods: ['GET', 'POST'], upstream: upstream.url },
      { path: '/broken/*', auth: 'none', upstream: 'broken' },
      { path: '/dead/*', auth: 'none', upstream: 'dead' },
      { path: '/limited/*', auth: 'none', bodyLimit: 1, upstream: upstream.url },
      { path: '/closed/*', auth: 'none', cors: false, upstream: upstream.url },
      {
        path: '/own-list/*',
        auth: 'none',
        cors: { origins: ['https://other.example'], credentials: false },
        upstream: upstream.url,
      },
    ],
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
  await broken?.close()
})

/** Raw, as `fetch` would not send these fields itself. */
async function ask(path: string, origin: string | null, fields = '', method = 'GET', port = gateway.port) {
  const line = origin === null ? '' : `Origin: ${origin}\r\n`
  const bytes = `${method} ${path} HTTP/1.1\r\nHost: a\r\n${line}${fields}\r\n`
  return parseAnswer((await exchangeRaw(port, bytes, { until: wholeAnswer })).text)
}

type Answer = Awaited<ReturnType<typeof ask>>
const listed = (answer: Answer, name: string): string[] =>
  answer
    .values(name)
    .join(',')
    .split(',')
    .map(part => part.trim().toLowerCase())

function assertAllowed(answer: Answer, origin: string): void {
  assert.deepEqual(answer.values('access-control-allow-origin'), [origin], answer.head)
  assert.deepEqual(answer.values('access-control-allow-credentials'), ['true'])
  assert.ok(listed(answer, 'vary').includes('origin'), answer.head)
}

function assertNotAllowed(answer: Answer): void {
  assert.doesNotMatch(answer.head, /^access-control-allow-/im)
  assert.ok(listed(answer, 'vary').includes('origin'), 'a cache would serve it to allowed origins too')
}

const preflight = (
  path: string,
  origin: string,
  method = 'POST',
  headers = 'authorization, content-type',
) => {
  const fields = `Access-Control-Request-Method: ${method}\r\nAccess-Control-Request-Headers: ${headers}\r\n`
  return ask(path, origin, fields, 'OPTIONS')
}

describe('a preflight', () => {
  for (const origin of [APP, 'http://localhost:3000', PREVIEW]) {
    test(`of ${origin} is answered without token and upstream`, async () => {
      const before = upstream.requests.length
      const answer = await preflight('/private/x', origin)
      assert.equal(answer.status, 204)
      assertAllowed(answer, origin)
      assert.ok(listed(answer, 'access-control-allow-methods').includes('post'))
      const headers = listed(answer, 'access-control-allow-headers')
      assert.ok(headers.includes('authorization') && headers.includes('content-type'), answer.head)
      assert.equal(answer.values('x-request-id').length, 1)
      assert.equal(upstream.requests.length, before)
      assert.equal((await ask('/public/control', origin)).status, 200)
      assert.equal(upstream.requests.length, before + 1)
    })
  }
  test('names the methods of its route only', async () => {
    const methods = listed(await preflight('/private/x', APP), 'access-control-allow-methods')
    assert.equal(methods.includes('delete'), false)
  })
  test('of a foreign origin is not allowed and reaches no upstream', async () => {
    const before = upstream.requests.length
    assertNotAllowed(await preflight('/public/x', 'https://evil.example'))
    assert.equal(upstream.requests.length, before)
  })
  test('cannot write into the answer with the headers that it asks for', async () => {
    const answer = await preflight('/public/x', APP, 'POST', 'x-a, x b, <script>, x-company-id:evil')
    assert.doesNotMatch(answer.values('access-control-allow-headers').join(), /[<>:]|x b/)
  })
  test('of a route without CORS is not answered by the gateway with permission', async () => {
    assert.doesNotMatch((await preflight('/closed/x', APP)).head, /access-control-allow-/i)
  })
  test('OPTIONS without a requested method is no preflight', async () => {
    const before = upstream.requests.length
    const answer = await ask('/public/x', APP, '', 'OPTIONS')
    assert.equal(answer.status, 200)
    assert.equal(upstream.requests.length, before + 1)
    assertAllowed(answer, APP)
  })
})

describe('an origin that only looks like an allowed one gets nothing', () => {
  const near = [
    'null',
    'https://app.example.com.evil.com',
    'https://evilapp.example.com',
    'http://app.example.com',
  ]
  const parts = [
    'https://app.example.com:8443',
    'https://app.example.comx',
    'https://app.example.com/',
    'https://app.example',
  ]
  const pattern = ['https://nyro-a.evil.com-team.vercel.app', 'https://nyro--team.vercel.app.evil.com']
  const more = [
    'https://nyro-a/b-team.vercel.app',
    'http://nyro-a-team.vercel.app',
    'https://xnyro-a-team.vercel.app',
  ]
  const rest = [
    'app.example.com',
    `${APP}, https://evil.example`,
    `https://evil.example ${APP}`,
    'https://u@app.example.com',
    '*',
  ]
  for (const origin of [...near, ...parts, ...pattern, ...more, ...rest, 'https://nyro-team.vercel.app']) {
    test(origin, async () => {
      const answer = await ask('/public/x', origin)
      assertNotAllowed(answer)
      assertNotAllowed(await preflight('/public/x', origin))
    })
  }
  test('the second of two Origin lines', async () => {
    const answer = await ask('/public/x', APP, 'Origin: https://evil.example\r\n')
    assert.doesNotMatch(answer.head, /evil/)
  })
})

describe('an allowed origin may read', () => {
  const noCompany = token(claims({ app_metadata: {} }))
  const table: Record<string, { path: string; status: number; fields?: string; method?: string }> = {
    'the answer of the upstream': { path: '/public/x', status: 200 },
    'the gateway itself': { path: '/health', status: 200 },
    'a 401': { path: '/private/x', status: 401 },
    'a 403': { path: '/private/x', status: 403, fields: `Authorization: Bearer ${noCompany}\r\n` },
    'a 404': { path: '/nowhere', status: 404 },
    'a 405': {
      path: '/private/x',
      status: 405,
      method: 'DELETE',
      fields: `Authorization: Bearer ${token()}\r\n`,
    },
    'a 400 for the path': { path: '/public/..%2fx', status: 400 },
    'a 413': { path: '/limited/x', status: 413, method: 'POST', fields: 'Content-Length: 2\r\n' },
    'a 502': { path: '/broken/x', status: 502 },
    'a 503': { path: '/dead/x', status: 503 },
  }
  for (const [name, { path, status, fields, method }] of Object.entries(table)) {
    test(name, async () => {
      const answer = await ask(path, APP, fields, method)
      assert.equal(answer.status, status, answer.body)
      assertAllowed(answer, APP)
      const exposed = listed(answer, 'access-control-expose-headers')
      for (const header of ['x-request-id', 'x-process-time', 'x-supabase-api-version']) {
        assert.ok(exposed.includes(header), `${header} in ${exposed}`)
      }
    })
    test(`${name}; without an Origin there is no permission, but Vary`, async () => {
      assertNotAllowed(await ask(path, null, fields, method))
    })
  }
})

describe("the gateway's word stands, not the upstream's", () => {
  test('an allowed origin gets one of each field', async () => {
    const answer = await ask('/public/own', APP)
    assertAllowed(answer, APP)
    assert.doesNotMatch(answer.head, /BREW|max-age|X-Upstream/i)
  })
  test('a foreign origin gets none', async () => {
    assertNotAllowed(await ask('/public/own', 'https://evil.example'))
  })
  test('a route without CORS passes nothing of it on', async () => {
    assert.doesNotMatch((await ask('/closed/own', APP)).head, /^access-control-/im)
  })
  test("the upstream's Vary is kept beside Origin", async () => {
    const names = listed(await ask('/public/vary', APP), 'vary')
    assert.deepEqual([...new Set(names)].sort(), ['accept-encoding', 'origin'])
  })
  test('a route may have its own origins, without credentials', async () => {
    const answer = await ask('/own-list/x', 'https://other.example')
    assert.deepEqual(answer.values('access-control-allow-origin'), ['https://other.example'])
    assert.deepEqual(answer.values('access-control-allow-credentials'), [])
    assert.doesNotMatch((await ask('/own-list/x', APP)).head, /^access-control-allow-/im)
  })
})

describe('origins from the environment', () => {
  let own: GatewayProcess
  before(async () => {
    own = await startGateway({
      env: {
        GATEWAY_CORS_ORIGINS: 'https://one.example,https://pr-*.two.example',
        VERCEL_FRONTEND_URL: 'https://nyro.vercel.app',
        NGROK_URL: 'https://abc.ngrok.app',
      },
    })
  })
  after(() => own?.stop())
  const named = [
    'https://one.example',
    'https://pr-7.two.example',
    'https://nyro.vercel.app',
    'https://abc.ngrok.app',
  ]
  for (const origin of named) {
    test(`${origin} is allowed`, async () =>
      assertAllowed(await ask('/health', origin, '', 'GET', own.port), origin))
  }
  const foreign = [
    'https://two.example',
    'https://xyz.ngrok.app',
    'https://nyro-api-gateway.ngrok.app',
    'https://a.b.two.example',
  ]
  for (const origin of foreign) {
    test(`${origin} is not`, async () => assertNotAllowed(await ask('/health', origin, '', 'GET', own.port)))
  }
})
