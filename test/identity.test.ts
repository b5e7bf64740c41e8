/** Who a request is said to come from: nothing but a verified token may say it. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { exchangeRaw } from './support/raw.ts'
import { type ClaimSet, claims, token, tokenOverText } from './support/token.ts'
import { type RecordedRequest, type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const USER = '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11'
const SPOOFED = [
  'X-Company-ID',
  'x-company-id',
  'X-COMPANY-ID',
  'x-cOmPaNy-Id',
  'X_Company_ID',
  'X_COMPANY-ID',
]
const CR_LF = 'a\r\nX-Company-ID: evil'

let upstream: RecordingUpstream
let gateway: GatewayProcess

before(async () => {
  upstream = await recordingUpstream()
  gateway = await startGateway({
    env: { GATEWAY_INGEST_SERVICE_URL: upstream.url, GATEWAY_AUTH_SERVICE_URL: upstream.url },
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
})

/** Lines whose name a lenient server may take for an identity header. */
function identityLines(request: RecordedRequest): string[] {
  return request.headers
    .filter(([name]) => /^x.(company.id|user.id|user.email)$/.test(name))
    .map(([name, value]) => `${name}: ${value}`)
    .sort()
}

const GENUINE = ['x-company-id: acme', 'x-user-email: ana@acme.example', `x-user-id: ${USER}`]

/** Sends a protected GET; gives the answer and what reached the upstream of it. */
async function protectedGet(headers: Record<string, string | string[]>, path = '/api/v1/ingest/x') {
  const before = upstream.requests.length
  const answer = await send(gateway.url + path, { headers })
  return { answer, reached: upstream.requests.slice(before) }
}

describe('headers that claim an identity', () => {
  for (const name of SPOOFED) {
    test(`replaces a client's ${name} on a protected route`, async () => {
      const { answer, reached } = await protectedGet({ ...bearer(token()), [name]: ['globex', 'initech'] })
      assert.equal(answer.status, 200)
      assert.deepEqual(identityLines(reached[0]!), GENUINE)
    })
  }

  test('replaces all three at once, repeated and in mixed letter case', async () => {
    const answer = await exchangeRaw(
      gateway.port,
      `GET /api/v1/ingest/all HTTP/1.1\r\nHost: h\r\nX-Company-ID: a\r\nx-company-id: b\r\nX-USER-ID: c\r\n` +
        `x_user_id: d\r\nX-User-Email: e@e\r\nX_User-email: f@f\r\nAuthorization: Bearer ${token()}\r\n` +
        `X-Company-Id:\r\nConnection: close\r\n\r\n`,
    )
    assert.equal(answer.status, 200)
    assert.deepEqual(identityLines(upstream.requests.at(-1)!), GENUINE)
  })

  test('removes them on a public route, and passes the rest', async () => {
    const seen = upstream.next()
    const answer = await send(`${gateway.url}/api/v1/auth/token`, {
      headers: {
        ...Object.fromEntries(SPOOFED.map(name => [name, 'globex'])),
        'X-User-ID': 'mallory',
        'X-User-Email': 'mallory@evil.example',
        'x-user_email': 'mallory@evil.example',
        'X-Other': 'kept',
      },
    })
    assert.equal(answer.status, 200)
    const request = await seen
    assert.deepEqual(identityLines(request), [])
    assert.deepEqual(request.values('x-other'), ['kept'])
  })

  test('neither accepts X.Company.ID nor lets it stand beside the real one', async () => {
    const { answer, reached } = await protectedGet({ ...bearer(token()), 'X.Company.ID': 'globex' })
    if (answer.status === 400) return assert.equal(reached.length, 0)
    assert.equal(answer.status, 200)
    assert.deepEqual(identityLines(reached[0]!), GENUINE)
  })

  test("leaves out the e-mail when the token has none, the client's own too", async () => {
    const { reached } = await protectedGet({
      ...bearer(token(claims({ email: undefined }))),
      'X-User-Email': 'mallory@evil.example',
    })
    assert.deepEqual(identityLines(reached[0]!), ['x-company-id: acme', `x-user-id: ${USER}`])
  })

  test('survive being named in Connection', async () => {
    const { answer, reached } = await protectedGet({
      ...bearer(token()),
      Connection: 'close, X-Company-ID, x-user-id, X-User-Email, Authorization',
      'X-Company-ID': 'globex',
    })
    assert.equal(answer.status, 200)
    assert.deepEqual(identityLines(reached[0]!), GENUINE)
  })
})

test('removes what the request and the response name in Connection', async () => {
  const named = await recordingUpstream(({ socket }) => {
    socket.write(
      'HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: secret\r\nX-Kept: yes\r\nContent-Length: 2\r\n\r\nok',
    )
  })
  const other = await startGateway({ env: { GATEWAY_AUTH_SERVICE_URL: named.url } })
  try {
    const answer = await send(`${other.url}/api/v1/auth/x`, {
      headers: { Connection: 'close, X-Foo', 'X-Foo': 'secret', 'X-Bar': 'kept' },
    })
    assert.equal(answer.text, 'ok')
    assert.deepEqual(named.requests[0]!.values('x-foo'), [])
    assert.deepEqual(named.requests[0]!.values('x-bar'), ['kept'])
    assert.deepEqual(answer.values('x-hop'), [])
    assert.deepEqual(answer.values('x-kept'), ['yes'])
  } finally {
    await other.stop()
    await named.close()
  }
})

describe('claims that cannot be an identity', () => {
  const company = (value: unknown): ClaimSet => ({ app_metadata: { company_id: value } })
  const refused: [string, ClaimSet][] = [
    ['sub with CR LF', { sub: CR_LF }],
    ['sub with NUL', { sub: 'a\u0000b' }],
    ['sub beyond Latin', { sub: '用户' }],
    ['sub as array', { sub: [USER] }],
    ['sub as object', { sub: { id: USER } }],
    ['sub as number', { sub: 42 }],
    ['sub as empty text', { sub: '' }],
    ['sub as null', { sub: null }],
    ['company with CR LF', company(CR_LF)],
    ['company with LF', company('acme\nglobex')],
    ['company with NUL', company('acme\u0000')],
    ['company with DEL', company('acme\u007f')],
    ['company beyond Latin', company('会社')],
    ['company as array', company(['acme'])],
    ['company as object', company({ id: 'acme' })],
    ['company as boolean', company(true)],
    ['company as null', company(null)],
    ['company as empty text', company('')],
    ['company as spaces', company('   ')],
    ['app_metadata absent', { app_metadata: undefined }],
    ['app_metadata null', { app_metadata: null }],
    ['app_metadata as text', { app_metadata: 'company_id' }],
    ['app_metadata as array', { app_metadata: [{ company_id: 'acme' }] }],
    ['company only in user_metadata', { app_metadata: {}, user_metadata: { company_id: 'acme' } }],
    ['company only at the top', { app_metadata: {}, company_id: 'acme' }],
  ]
  for (const [what, over] of refused) {
    test(`refuses ${what}, and nothing reaches the upstream`, async () => {
      const { answer, reached } = await protectedGet(bearer(token(claims(over))))
      assert.ok([401, 403].includes(answer.status), `status ${answer.status}`)
      assert.equal(reached.length, 0)
      if (!what.startsWith('sub')) {
        assert.equal(answer.json().detail, 'User authenticated, but company association is missing in token.')
      }
    })
  }

  test('takes a number for a company', async () => {
    const { reached } = await protectedGet(bearer(token(claims(company(42)))))
    assert.deepEqual(reached[0]!.values('x-company-id'), ['42'])
  })

  test('does not let two company numbers become one', async () => {
    // 2^53 and 2^53 + 1 are the same double: whoever has the one must not get the data of the other
    const payload = JSON.stringify(claims(company('@'))).replace('"@"', '9007199254740993')
    const { answer, reached } = await protectedGet(bearer(tokenOverText(payload)))
    if (answer.status === 200) {
      assert.deepEqual(reached[0]!.values('x-company-id'), ['9007199254740993'])
    } else assert.equal(answer.status, 403)
  })

  test('does not let a company with outer spaces become another', async () => {
    for (const padded of [' acme', 'acme ', '\tacme']) {
      const { answer, reached } = await protectedGet(bearer(token(claims(company(padded)))))
      assert.equal(answer.status, 403)
      assert.equal(reached.length, 0)
    }
  })

  for (const email of [CR_LF, 'a\u0000@b', 'ñandú@acme.example', '用户@例子.example', '😀@acme.example']) {
    test(`percent-encodes the e-mail ${JSON.stringify(email)}`, async () => {
      const { answer, reached } = await protectedGet(bearer(token(claims({ email }))))
      assert.equal(answer.status, 200)
      const [sent, ...more] = reached[0]!.values('x-user-email')
      assert.deepEqual(more, [])
      assert.match(sent!, /^[\x20-\x7e]+$/)
      assert.equal(decodeURIComponent(sent!), email)
      assert.deepEqual(reached[0]!.values('x-company-id'), ['acme'])
    })
  }

  for (const email of [['a@b'], { a: 1 }, 7, true, null, '']) {
    test(`never forwards ${JSON.stringify(email)} as an e-mail`, async () => {
      const { answer, reached } = await protectedGet({
        ...bearer(token(claims({ email }))),
        'X-User-Email': 'mallory@evil.example',
      })
      if (answer.status === 200) assert.deepEqual(reached[0]!.values('x-user-email'), [])
      else assert.ok([401, 403].includes(answer.status), `status ${answer.status}`)
    })
  }
})
