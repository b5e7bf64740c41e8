/** Path tricks: what two readers could take for different paths is refused; the rest goes on byte for byte. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

let gateway: GatewayProcess
/** Behind the first gateway's routes: auth is open, ingest and query ask for a token. */
let upstream: RecordingUpstream
let seed: GatewayProcess

before(async () => {
  upstream = await recordingUpstream()
  const { url } = upstream
  seed = await startConfigured(
    {},
    {
      GATEWAY_AUTH_SERVICE_URL: url,
      GATEWAY_INGEST_SERVICE_URL: url,
      GATEWAY_QUERY_SERVICE_URL: url,
    },
  )
  gateway = await startConfigured({
    routes: [
      { path: '/open/*', auth: 'none', upstream: url },
      { path: '/open/closed/*', upstream: url },
      { path: '/stripped/*', auth: 'none', stripPrefix: true, upstream: url },
      { path: '/files/{name}', auth: 'none', upstream: url },
    ],
  })
})

after(async () => {
  await gateway?.stop()
  await seed?.stop()
  await upstream?.close()
})

async function ask(port: number, target: string, method = 'GET') {
  const bytes = `${method} ${target} HTTP/1.1\r\nHost: a\r\n\r\n`
  const { text } = await exchangeRaw(port, bytes, { until: wholeAnswer })
  return text
}

/** Refused before any upstream, which an ordinary request then still reaches. */
async function assertKeptOut(port: number, target: string, statuses: readonly number[]): Promise<void> {
  const before = upstream.requests.length
  const text = await ask(port, target)
  assertProblem(text, statuses)
  const control = port === seed.port ? '/api/v1/auth/user' : '/open/control'
  assert.equal(parseAnswer(await ask(port, control)).status, 200)
  assert.deepEqual(
    upstream.requests.slice(before).map(request => request.target),
    [control],
  )
}

describe('no trick leads from the open auth route to a guarded one', () => {
  const tricks = ['..%2fingest', '../ingest', '%2e%2e/ingest', '%2E%2E/ingest', '.%2e/ingest', '%2e./ingest']
  const more = ['..%5cingest', '..\\ingest', '..;x=1/ingest', '..;/ingest', '..%3b/ingest', '..%2Fingest']
  const dots = ['./../ingest', '%2e/%2e%2e/ingest', 'x/../../ingest', 'x/..%2f..%2fingest', '..%252fingest']
  const odd = ['%00/../ingest', '..%00/ingest', '..%c0%afingest', '..%u2215ingest', '..%0d%0a/ingest']
  for (const trick of [...tricks, ...more, ...dots.slice(0, 4), ...odd]) {
    test(trick, () => assertKeptOut(seed.port, `/api/v1/auth/${trick}/x`, [400, 401, 404]))
  }
  test('twice encoded, it goes on as the name it is and not decoded', async () => {
    const before = upstream.requests.length
    const text = await ask(seed.port, '/api/v1/auth/..%252fingest')
    const targets = upstream.requests.slice(before).map(request => request.target)
    if (parseAnswer(text).status === 200) assert.deepEqual(targets, ['/api/v1/auth/..%252fingest'])
    else assert.deepEqual(targets, [])
  })
})

describe('another spelling of a guarded path is not served without its guard', () => {
  const slashes = ['//api/v1/ingest/x', '/api/v1//ingest/x', '/api//v1/ingest/x', '///api/v1/ingest/x']
  const letters = ['/API/V1/INGEST/x', '/api/v1/Ingest/x', '/api/v1/%69ngest/x', '/%61pi/v1/ingest/x']
  const rest = ['/api/v1/./ingest/x', '/api/v1/%2e/ingest/x', '\\api\\v1\\ingest\\x', '/api/v1/ingest;a=b/x']
  const ends = [
    '/api/v1/ingest%00/x',
    '/api/v1/ingest%20/x',
    '/api%2fv1%2fingest/x',
    '/api/v1/ingest',
    '/api/v1/ingest/',
  ]
  for (const path of [...slashes, ...letters, ...rest, ...ends]) {
    test(path, () => assertKeptOut(seed.port, path, [400, 401, 404]))
  }
  test('a slash more after an open prefix does not lose the guard below it', () =>
    assertKeptOut(gateway.port, '/open//closed/x', [400, 401, 404]))
  test('an encoded letter below an open prefix does not lose the guard', () =>
    assertKeptOut(gateway.port, '/open/%63losed/x', [400, 401, 404]))
  test('a guard below an open prefix stands', () => assertKeptOut(gateway.port, '/open/closed/x', [401]))
})

describe('a prefix ends at a segment', () => {
  for (const path of [
    '/api/v1/authx',
    '/api/v1/auth-x/y',
    '/api/v1/auth%20/x',
    '/api/v1/auth;x',
    '/api/v1',
  ]) {
    test(path, () => assertKeptOut(seed.port, path, [400, 401, 404]))
  }
})

describe('refuses quickly what is no path', () => {
  const table: Record<string, string> = {
    'a broken escape': '/open/%zz',
    'a cut escape': '/open/%E0%A4%A',
    'a lone percent sign': '/open/100%',
    '8,000 slashes': '/'.repeat(8_000),
    '2,500 steps up': `/open${'/..'.repeat(2_500)}`,
    '2,500 encoded steps up': `/open${'/%2e%2e'.repeat(2_500)}`,
    'encoded NUL': '/open/a%00b',
    backslash: '/open/a\\b',
    'encoded backslash': '/open/a%5cb',
    'encoded slash': '/open/a%2fb',
    'empty segment': '/open//x',
    fragment: '/open/x#y',
    'no slash first': 'open/x',
    'only a query': '?open/x',
  }
  for (const [name, target] of Object.entries(table)) {
    test(name, async () => {
      const started = performance.now()
      const text = await ask(gateway.port, target)
      assert.ok(performance.now() - started < 500)
      assertProblem(text, [400, 404, 414])
      await assertKeptOut(gateway.port, target, [400, 404, 414])
    })
  }
})

describe('forwards path and query byte for byte', () => {
  const kept = [
    '/open/',
    '/open/a%20b',
    '/open/%E4%BD%A0',
    '/open/%e4%bd%a0?x=%E4',
    '/open/a+b?c+d',
    '/open/x?',
  ]
  const query = [
    '/open/x?a=1&a=2&&b',
    '/open/x?q=..%2f//\\%zz',
    '/open/x?a=%00',
    '/open/x?a=b?c',
    '/open/x?%7B}|^`',
  ]
  const marks = [
    "/open/a:b@c!$&'()*+,;=~-._",
    '/open/.hidden/..x/x..',
    '/open/a/',
    '/open/x?u=http://e/../../y',
  ]
  for (const target of [...kept, ...query, ...marks]) {
    test(target, async () => {
      const before = upstream.requests.length
      assert.equal(parseAnswer(await ask(gateway.port, target)).status, 200)
      assert.deepEqual(
        upstream.requests.slice(before).map(request => request.target),
        [target],
      )
    })
  }
  for (const [target, sent] of [
    ['/stripped/a%20b?c=%2f', '/a%20b?c=%2f'],
    ['/stripped/', '/'],
    ['/stripped/?x', '/?x'],
    ['/stripped/http://evil.test/', null],
    ['/stripped//evil.test/x', null],
  ] as const) {
    test(`strips the prefix of ${target} and nothing else`, async () => {
      const before = upstream.requests.length
      const { status } = parseAnswer(await ask(gateway.port, target))
      const targets = upstream.requests.slice(before).map(request => request.target)
      if (sent === null) assert.deepEqual([status, targets], [400, []])
      else assert.deepEqual([status, targets], [200, [sent]])
    })
  }
  test('a parameter is one segment', async () => {
    assert.equal(parseAnswer(await ask(gateway.port, '/files/a')).status, 200)
    await assertKeptOut(gateway.port, '/files/a/b', [404])
    await assertKeptOut(gateway.port, '/files/..', [400, 404])
    await assertKeptOut(gateway.port, '/files/a%2f..%2fb', [400, 404])
  })
})

describe('an encoded line break stays encoded', () => {
  for (const path of ['/open/x%0d%0aX-Company-ID:%20evil', '/open/x?a=%0d%0aX-Company-ID:%20evil']) {
    test(path, async () => {
      const before = upstream.requests.length
      const text = await ask(gateway.port, path)
      assert.doesNotMatch(text, /^X-Company-ID: evil/im)
      const id = parseAnswer(text).values('x-request-id')[0]
      const line = await gateway.logged(record => record.request_id === id)
      assert.doesNotMatch(String(line.path), /[\r\n]/)
      assert.deepEqual(
        gateway.log.filter(record => 'raw' in record),
        [],
      )
      for (const request of upstream.requests.slice(before)) {
        assert.equal(request.target, path)
        assert.deepEqual(request.values('x-company-id'), [])
      }
    })
  }
})

describe('targets in absolute form and other forms', () => {
  test('never make the gateway connect to where they point', async () => {
    const trap = net.createServer(socket => socket.destroy())
    let caught = 0
    trap.on('connection', () => caught++)
    trap.listen(0, '127.0.0.1')
    await once(trap, 'listening')
    const { port } = trap.address() as AddressInfo
    const before = upstream.requests.length
    const { status } = parseAnswer(await ask(gateway.port, `http://127.0.0.1:${port}/open/x`))
    assert.equal(caught, 0)
    const hosts = upstream.requests.slice(before).flatMap(request => request.values('x-forwarded-host'))
    if (status === 200) assert.deepEqual(hosts, [`127.0.0.1:${port}`])
    else assert.deepEqual([hosts, status >= 400 && status < 500], [[], true])
    net.connect(port, '127.0.0.1').on('error', () => {})
    await once(trap, 'connection')
    assert.equal(caught, 1)
    trap.close()
  })
  const absolute = [
    'http://169.254.169.254/latest',
    'http://evil.test/t',
    'http://a/open/../x',
    'http://a//open/closed/x',
  ]
  const schemes = [
    'ftp://h/open/x',
    'file:///etc/passwd',
    'gopher://h/open/x',
    'javascript:alert(1)',
    'http:///open/x',
  ]
  const forms = [
    '*',
    'h:443',
    'http://u:p@h/open/x',
    'http://h:80abc/open/x',
    'http:/open/x',
    '//a/open/closed/x',
  ]
  for (const target of [...absolute, ...schemes, ...forms, 'http://a/open/closed/x']) {
    test(`${target} reaches no upstream`, () =>
      assertKeptOut(gateway.port, target, [400, 401, 404, 405, 421]))
  }
  test('OPTIONS * is answered without an upstream', async () => {
    const before = upstream.requests.length
    const { status } = parseAnswer(await ask(gateway.port, '*', 'OPTIONS'))
    assert.ok(status < 500, String(status))
    assert.equal(upstream.requests.length, before)
  })
})

describe("the gateway's own pages", () => {
  for (const path of [
    '/open/../health',
    '/open/%2e%2e/metrics',
    '/open/..%2fready',
    '/metrics',
    '/admin',
    '/health/x',
  ]) {
    test(`are not behind ${path}`, () => assertKeptOut(gateway.port, path, [400, 404]))
  }
  test('are not what a proxied path of the same name shows', async () => {
    for (const name of ['health', 'metrics', 'ready', 'openapi.json']) {
      const before = upstream.requests.length
      const { body } = parseAnswer(await ask(gateway.port, `/open/${name}`))
      assert.equal(body, '{"ok":true}')
      assert.equal(upstream.requests[before]?.target, `/open/${name}`)
    }
  })
  test('tell nothing of tenants', async () => {
    for (const path of ['/', '/health', '/ready', '/openapi.json']) {
      const text = await ask(gateway.port, path)
      assert.equal(parseAnswer(text).status, 200, path)
      assert.doesNotMatch(text, /acme|127\.0\.0\.1/)
    }
  })
})
