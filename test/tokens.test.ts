/** Which bearer tokens open a protected route: those signed with the shared secret, whole, in time, and once. */

import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, bearer, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { exchangeRaw } from './support/raw.ts'
import { type ClaimSet, claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const now = (): number => Math.floor(Date.now() / 1000)

let upstream: RecordingUpstream
let gateway: GatewayProcess
let strict: GatewayProcess

before(async () => {
  upstream = await recordingUpstream()
  const env = { GATEWAY_INGEST_SERVICE_URL: upstream.url }
  ;[gateway, strict] = await Promise.all([
    startGateway({ env }),
    startGateway({
      env: {
        ...env,
        GATEWAY_JWT_ISSUER: 'https://a.example/auth/v1, https://b.example/auth/v1',
        GATEWAY_JWT_AUDIENCE: 'staff',
        GATEWAY_JWT_LEEWAY: '0',
        GATEWAY_TENANT_CLAIM: 'org.id',
      },
    }),
  ])
})

after(async () => {
  await Promise.all([gateway?.stop(), strict?.stop()])
  await upstream?.close()
})

async function ask(headers: Record<string, string | string[]>, to = gateway): Promise<Answer> {
  const before = upstream.requests.length
  const answer = await send(`${to.url}/api/v1/ingest/x`, { headers })
  const reached = upstream.requests.length - before
  assert.equal(reached, answer.status === 200 ? 1 : 0, `${answer.status}, ${reached} upstream requests`)
  return answer
}

async function refused(headers: Record<string, string | string[]>, detail: RegExp | string): Promise<void> {
  const answer = await ask(headers)
  assert.equal(answer.status, 401)
  if (typeof detail === 'string') assert.equal(answer.json().detail, detail)
  else assert.match(answer.json().detail, detail)
  assert.match(answer.values('www-authenticate').join(), /^Bearer/)
}

function unsigned(header: ClaimSet, payload: ClaimSet = claims(), signature = ''): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${encode(header)}.${encode(payload)}.${signature}`
}

describe('signatures', () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = publicKey.export({ format: 'jwk' })
  const rs256 = (header: ClaimSet): string => {
    const signed = unsigned({ alg: 'RS256', typ: 'JWT', ...header }).slice(0, -1)
    return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
  }
  const good = token()
  const [head, , tail] = good.split('.')
  const forged: [string, string][] = [
    ['alg none without a signature', unsigned({ alg: 'none', typ: 'JWT' })],
    ['alg none with a signature', token(claims(), { header: { alg: 'none' } })],
    ['alg None', unsigned({ alg: 'None' })],
    ['alg nOnE', unsigned({ alg: 'nOnE' })],
    ['no alg', token(claims(), { header: { alg: undefined } })],
    ['alg as number', token(claims(), { header: { alg: 256 } })],
    ['alg HS384 over an HS256 signature', token(claims(), { header: { alg: 'HS384' } })],
    ['alg ES256 over an HMAC', token(claims(), { header: { alg: 'ES256', kid: 'k' } })],
    ['another secret', token(claims(), { secret: 'another-secret-of-at-least-32-bytes!' })],
    ['an empty secret', token(claims(), { secret: '' })],
    ['no signature', `${good.slice(0, good.lastIndexOf('.'))}.`],
    ["another token's signature", `${head}.${token(claims({ sub: 'x' })).split('.')[1]}.${tail}`],
    ['an embedded jwk', rs256({ jwk })],
    ['an embedded jwk with a kid', rs256({ jwk, kid: 'k' })],
    ['an unknown critical header', token(claims(), { header: { crit: ['exp2'], exp2: 1 } })],
    ['an unencoded payload', token(claims(), { header: { b64: false, crit: ['b64'] } })],
    ['a payload that is no object', token([1] as unknown as ClaimSet)],
    ['two parts', good.split('.').slice(0, 2).join('.')],
    ['four parts', `${good}.x`],
    ['five parts', `${good}.x.y`],
    ['characters outside base64url', `${good}=+/`],
    ['no token at all but dots', '..'],
    ['text', 'abc'],
  ]
  for (const [what, bad] of forged) {
    test(`refuses ${what}`, () =>
      refused(bearer(bad), /^(Invalid token signature\.$|Token validation failed)/))
  }

  test('opens for the right one', async () => {
    assert.equal((await ask(bearer(good))).status, 200)
  })

  test('remembers no token that differs from the verified one in anything', async () => {
    const known = token(claims({ jti: 'remembered' }))
    assert.equal((await ask(bearer(known))).status, 200)
    assert.equal((await ask(bearer(known))).status, 200)
    const [header, payload, signature] = known.split('.') as [string, string, string]
    const flipped = signature.startsWith('A') ? `B${signature.slice(1)}` : `A${signature.slice(1)}`
    await refused(bearer(`${header}.${payload}.${flipped}`), 'Invalid token signature.')
    const other = token(claims({ jti: 'remembered', sub: 'mallory' })).split('.')[1]
    await refused(bearer(`${header}.${other}.${signature}`), 'Invalid token signature.')
  })

  test('fetches no key from where the token says', async () => {
    let connections = 0
    const trap = net.createServer(socket => {
      connections++
      socket.destroy()
    })
    trap.listen(0, '127.0.0.1')
    await once(trap, 'listening')
    const url = `http://127.0.0.1:${(trap.address() as AddressInfo).port}/jwks.json`
    try {
      for (const header of [{ jku: url }, { x5u: url }, { kid: url }, { jku: url, x5u: url, kid: url }]) {
        assert.equal((await ask(bearer(rs256(header)))).status, 401)
        const signed = await ask(bearer(token(claims(), { header })))
        assert.ok([200, 401].includes(signed.status), `status ${signed.status}`)
      }
      assert.equal(connections, 0)
      // The trap does count
      await assert.rejects(send(url))
      assert.equal(connections, 1)
    } finally {
      trap.close()
    }
  })

  for (const kid of ['__proto__', 'constructor', '../../etc/passwd', "' OR 1=1", 'x'.repeat(4000)]) {
    test(`is not confused by the kid ${kid.slice(0, 20)}`, async () => {
      const answer = await ask(bearer(token(claims(), { header: { kid } })))
      assert.ok([200, 401].includes(answer.status), `status ${answer.status}`)
      await refused(bearer(rs256({ kid })), /./)
    })
  }
})

describe('time', () => {
  /** Made when they are sent: behind all tests before them. */
  const cases: [string, () => ClaimSet, number][] = [
    ['expired beyond the leeway', () => ({ exp: now() - 60 }), 401],
    ['expired within the leeway', () => ({ exp: now() - 5 }), 200],
    ['expired in 1970', () => ({ exp: 0 }), 401],
    ['expired before 1970', () => ({ exp: -1 }), 401],
    ['with a fractional expiry', () => ({ exp: now() + 600.5 }), 200],
    ['with an expiry as text', () => ({ exp: String(now() + 600) }), 401],
    ['with an expiry as object', () => ({ exp: {} }), 401],
    ['not valid yet', () => ({ nbf: now() + 600 }), 401],
    ['valid within the leeway', () => ({ nbf: now() + 10 }), 200],
    ['with a not-before as text', () => ({ nbf: 'tomorrow' }), 401],
    ['issued in the future', () => ({ iat: now() + 600 }), 401],
    ['without iat and nbf', () => ({ iat: undefined }), 200],
  ]
  for (const [what, over, status] of cases) {
    test(`answers ${status} to a token ${what}`, async () => {
      assert.equal((await ask(bearer(token(claims(over()))))).status, status)
    })
  }

  test('says expired, not company missing, of an expired token without company', () =>
    refused(bearer(token(claims({ exp: now() - 60, app_metadata: {} }))), 'Token has expired.'))

  test('says bad signature of a token that is also expired', () =>
    refused(
      bearer(token(claims({ exp: now() - 60 }), { secret: 'another-secret-of-at-least-32-bytes!' })),
      'Invalid token signature.',
    ))

  test('forgets a verified token when it expires', async () => {
    const exp = now() + 2
    const short = bearer(
      token(claims({ exp, aud: 'staff', org: { id: 'acme' }, iss: 'https://a.example/auth/v1' })),
    )
    assert.equal((await ask(short, strict)).status, 200)
    await delay(exp * 1000 - Date.now() + 1_100)
    const answer = await ask(short, strict)
    assert.equal(answer.status, 401)
    assert.equal(answer.json().detail, 'Token has expired.')
  })
})

describe('audience, issuer and tenant claim', () => {
  const audiences: [unknown, number][] = [
    ['authenticated', 200],
    [['other', 'authenticated'], 200],
    ['anon', 401],
    ['Authenticated', 401],
    [['a', 'b'], 401],
    [[], 401],
    [{ authenticated: true }, 401],
    [1, 401],
  ]
  for (const [aud, status] of audiences) {
    test(`answers ${status} to the audience ${JSON.stringify(aud)}`, async () => {
      assert.equal((await ask(bearer(token(claims({ aud }))))).status, status)
    })
  }

  const staff = (over: ClaimSet): string =>
    token(claims({ aud: 'staff', iss: 'https://b.example/auth/v1', org: { id: 'acme' }, ...over }))
  const configured: [string, ClaimSet, number][] = [
    ['all as configured', {}, 200],
    ['the other issuer', { iss: 'https://a.example/auth/v1' }, 200],
    ['a foreign issuer', { iss: 'https://evil.example' }, 401],
    ['an issuer with a slash more', { iss: 'https://a.example/auth/v1/' }, 401],
    ['no issuer', { iss: undefined }, 401],
    ['issuers as a list', { iss: ['https://a.example/auth/v1'] }, 401],
    ['the default audience', { aud: 'authenticated' }, 401],
    ['the company at its default place only', { org: undefined }, 403],
  ]
  for (const [what, over, status] of configured) {
    test(`answers ${status} to ${what} when configured`, async () => {
      assert.equal((await ask(bearer(staff(over)), strict)).status, status)
    })
  }
})

describe('where the token stands', () => {
  test('takes the scheme in any letter case', async () => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      assert.equal((await ask({ authorization: `${scheme} ${token()}` })).status, 200)
    }
  })

  const absent: [string, Record<string, string>][] = [
    ['no Authorization', {}],
    ['an empty Authorization', { authorization: '' }],
    ['another scheme', { authorization: 'Basic YTpi' }],
    ['the scheme alone', { authorization: 'Bearer' }],
    ['a token without a scheme', { authorization: token() }],
    ['the token in a cookie', { cookie: `access_token=${token()}; sb-access-token=${token()}` }],
    ['the token in X-Access-Token', { 'x-access-token': token() }],
  ]
  for (const [what, headers] of absent) {
    test(`answers 401 to ${what}`, () => refused(headers, 'Not authenticated'))
  }

  test('takes no token from the query', async () => {
    const before = upstream.requests.length
    const answer = await send(`${gateway.url}/api/v1/ingest/x?access_token=${token()}`)
    assert.equal(answer.status, 401)
    assert.equal(upstream.requests.length, before)
  })

  const doubled: [string, string][] = [
    ['two lines, the good one first', `Authorization: Bearer ${token()}\r\nAuthorization: Bearer x.y.z\r\n`],
    ['two lines, the good one last', `Authorization: Bearer x.y.z\r\nauthorization: Bearer ${token()}\r\n`],
    ['two good lines', `Authorization: Bearer ${token()}\r\nAuthorization: Bearer ${token()}\r\n`],
    ['a comma list', `Authorization: Bearer ${token()}, Bearer ${token()}\r\n`],
    ['something after the token', `Authorization: Bearer ${token()} and more\r\n`],
  ]
  for (const [what, lines] of doubled) {
    test(`refuses ${what}`, async () => {
      const before = upstream.requests.length
      const answer = await exchangeRaw(
        gateway.port,
        `GET /api/v1/ingest/x HTTP/1.1\r\nHost: h\r\n${lines}Connection: close\r\n\r\n`,
      )
      assert.ok([400, 401].includes(answer.status), `status ${answer.status}`)
      assert.equal(upstream.requests.length, before)
    })
  }

  for (const key of ['sb_publishable_0123456789abcdef', 'sb_secret_0123456789abcdef']) {
    test(`says that ${key.slice(0, 10)}… is an API key, forwards and logs it nowhere`, async () => {
      await refused(bearer(key), /API key/)
      await gateway.logged(record => record.error_code === 'opaque_key' || record.code === 'opaque_key')
      assert.ok(!JSON.stringify(gateway.log).includes(key))
      assert.ok(!upstream.bytes().includes(key))
    })
  }
})
