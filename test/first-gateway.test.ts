/** The faults of the first gateway, numbered as its review lists them: none of them may come back. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { bearer, open, send } from './support/client.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { claims, token } from './support/token.ts'
import { answerWith, type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const DEFAULT_SECRET = 'YOUR_DEFAULT_JWT_SECRET_KEY_CHANGE_ME_IN_ENV_OR_SECRET'
const BUILT_IN_ORIGIN = 'https://b0c3-2001-1388-53a1-a7c9-8901-65aa-f1fe-6a8.ngrok-free.app'
const DATE = 'Tue, 15 Nov 1994 08:12:31 GMT'

/** Answers in three parts, each on its own after the one before was asked for by `more`. */
const parts = { more: (): void => {} }
const answers: Record<string, (text: string) => string> = {
  fixed: text =>
    `HTTP/1.1 200 OK\r\nServer: uvicorn\r\nDate: ${DATE}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n${text}`,
}

let upstream: RecordingUpstream
let gateway: GatewayProcess

before(async () => {
  upstream = await recordingUpstream(request => {
    const { method, target, socket } = request
    if (!target.includes('parts'))
      return answerWith(answers.fixed!(method === 'HEAD' ? '' : 'hello'))(request)
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none')
    const rest = ['two', 'six']
    parts.more = () => socket.write(rest.shift() ?? '')
  })
  gateway = await startGateway({
    env: { GATEWAY_INGEST_SERVICE_URL: upstream.url, GATEWAY_AUTH_SERVICE_URL: upstream.url },
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
})

const path = '/api/v1/ingest/doc'
const signedIn = bearer(token())

test('1: a request with a context in the log is answered, and its line names it', async () => {
  const answer = await send(gateway.url + path, { headers: { ...signedIn, 'X-Request-ID': 'fault-one' } })
  assert.equal(answer.status, 200)
  const line = await gateway.logged(record => record.request_id === 'fault-one')
  assert.ok(line)
})

test('2: the answer streams to its end before the upstream is released', async () => {
  const { request, answered } = open(`${gateway.url}${path}/parts`, { headers: signedIn })
  request.end()
  let text = ''
  for await (const chunk of await answered) {
    text += chunk
    parts.more()
  }
  assert.equal(text, 'onetwosix')
})

test('3: the query goes upstream once and byte for byte', async () => {
  const target = `${path}?b=2&a=1&a=%20+%2B&empty=&q=%C3%A9&x`
  await send(gateway.url + target, { headers: signedIn })
  assert.equal(upstream.requests.at(-1)!.target, target)
})

test('4: no letter case of a header spoofs a company or an e-mail', async () => {
  const headers = {
    ...bearer(token(claims({ email: undefined }))),
    'x-company-id': 'globex',
    'X-USER-ID': 'mallory',
    'X-user-Email': 'mallory@evil.example',
  }
  await send(gateway.url + path, { headers })
  const request = upstream.requests.at(-1)!
  assert.deepEqual(request.values('x-company-id'), ['acme'])
  assert.deepEqual(request.values('x-user-id'), ['7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11'])
  assert.deepEqual(request.values('x-user-email'), [])
})

test('5: hop-by-hop fields and those named in Connection stop at the gateway', async () => {
  const answer = await exchangeRaw(
    gateway.port,
    `GET ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: ${signedIn.authorization}\r\nConnection: keep-alive, X-Hop\r\n` +
      'X-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: X-Sum\r\nProxy-Connection: keep-alive\r\n' +
      'Proxy-Authorization: Basic YTpi\r\nX-End: kept\r\n\r\n',
    { until: wholeAnswer },
  )
  assert.equal(answer.status, 200)
  const request = upstream.requests.at(-1)!
  for (const name of ['x-hop', 'keep-alive', 'proxy-connection', 'proxy-authorization', 'upgrade']) {
    assert.deepEqual(request.values(name), [], name)
  }
  assert.deepEqual(request.values('x-end'), ['kept'])
  // A TE of the gateway's own is its own matter; the client's needs Connection beside it (RFC 9110 §10.1.4)
  assert.ok(!request.values('te').includes('trailers') || /\bte\b/i.test(request.values('connection').join()))
})

test('6: the length stays known, for HEAD too', async () => {
  const whole = await send(gateway.url + path, { headers: signedIn })
  assert.deepEqual(whole.values('content-length'), ['5'])
  assert.deepEqual(whole.values('transfer-encoding'), [])
  const head = await send(gateway.url + path, { method: 'HEAD', headers: signedIn })
  assert.deepEqual(head.values('content-length'), ['5'])
  assert.equal(head.body.length, 0)
})

test('7: one Server and one Date', async () => {
  const answer = await send(gateway.url + path, { headers: signedIn })
  assert.deepEqual(answer.values('date'), [DATE])
  assert.equal(answer.values('server').length, 1)
})

test('8: an expired token is told so', async () => {
  const answer = await send(gateway.url + path, { headers: bearer(token(claims({ exp: 1_000_000_000 }))) })
  assert.equal(answer.json().detail, 'Token has expired.')
})

for (const [what, secret] of [
  ['default', DEFAULT_SECRET],
  ['empty', ''],
  ['short', 'x'.repeat(31)],
] as const) {
  test(`9: the ${what} secret keeps the gateway from starting`, async () => {
    const { code, stdout, stderr } = await runCommand(['start'], { env: { GATEWAY_JWT_SECRET: secret } })
    assert.equal(code, 78)
    assert.match(stdout + stderr, /GATEWAY_JWT_SECRET/)
    assert.doesNotMatch(stdout, /listening/i)
    if (secret.length > 0) assert.ok(!(stdout + stderr).includes('xxxxxxxx'))
  })
}

test('10: no foreign origin is allowed unless someone says so', async () => {
  const preflight = (origin: string) =>
    send(gateway.url + path, {
      method: 'OPTIONS',
      headers: { Origin: origin, 'Access-Control-Request-Method': 'GET' },
    })
  assert.deepEqual((await preflight(BUILT_IN_ORIGIN)).values('access-control-allow-origin'), [])
  const local = await preflight('http://localhost:3000')
  assert.deepEqual(local.values('access-control-allow-origin'), ['http://localhost:3000'])
})

test('11: a token without exp is refused', async () => {
  const answer = await send(gateway.url + path, { headers: bearer(token(claims({ exp: undefined }))) })
  assert.equal(answer.status, 401)
  assert.equal(answer.json().detail, 'Token missing required claims: exp')
})

test('12: an empty company is 403', async () => {
  const empty = token(claims({ app_metadata: { company_id: '' } }))
  assert.equal((await send(gateway.url + path, { headers: bearer(empty) })).status, 403)
})

test('13: HEAD is allowed wherever GET is', async () => {
  for (const own of ['/', '/health', '/ready', '/docs', '/openapi.json', '/api/v1/auth/user']) {
    const get = await send(gateway.url + own)
    const head = await send(gateway.url + own, { method: 'HEAD' })
    assert.equal(head.status, 200, own)
    assert.equal(head.body.length, 0)
    assert.deepEqual(head.values('content-length'), get.values('content-length'), own)
  }
})
