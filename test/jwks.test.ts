/** Tokens signed with a key pair: the public keys come from a key server, which may be slow, away, or changed. */

import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, bearer, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { type KeyServer, keyServer, type SigningKey, signingKey } from './support/jwks.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const NOT_READY = 'Gateway service is temporarily unavailable (client error).'

let upstream: RecordingUpstream
let es: SigningKey
let rs: SigningKey
let ed: SigningKey
let late: SigningKey

before(async () => {
  upstream = await recordingUpstream()
  ;[es, rs, ed, late] = await Promise.all([
    signingKey('ES256', 'es'),
    signingKey('RS256', 'rs'),
    signingKey('EdDSA', 'ed'),
    signingKey('ES256', 'late'),
  ])
})

after(() => upstream?.close())

function gatewayWith(keys: KeyServer, env: Record<string, string | undefined> = {}): Promise<GatewayProcess> {
  return startGateway({
    env: { GATEWAY_INGEST_SERVICE_URL: upstream.url, GATEWAY_JWKS_URL: keys.url, ...env },
  })
}

function ask(gateway: GatewayProcess, bearerToken: string): Promise<Answer> {
  return send(`${gateway.url}/api/v1/ingest/x`, { headers: bearer(bearerToken) })
}

describe('a key set and a secret side by side', () => {
  let keys: KeyServer
  let gateway: GatewayProcess
  const octets = 'attackers-choice-of-thirty-two-bytes'

  before(async () => {
    keys = await keyServer([
      es.publicJwk,
      rs.publicJwk,
      ed.publicJwk,
      { kty: 'oct', kid: 'oct', alg: 'HS256', k: Buffer.from(octets).toString('base64url') },
      { kty: 'unheard-of', kid: 'strange' },
    ])
    gateway = await gatewayWith(keys)
    await until('the keys are there', async () => (await ask(gateway, await es.sign())).status === 200)
  })
  after(async () => {
    await gateway?.stop()
    await keys?.close()
  })

  test('opens for ES256, RS256, EdDSA and HS256, each with its own identity', async () => {
    const signed = await Promise.all([
      es.sign(claims({ sub: 'user-es' })),
      rs.sign(claims({ sub: 'user-rs' })),
      ed.sign(claims({ sub: 'user-ed' })),
      token(claims({ sub: 'user-hs' })),
    ])
    for (const [index, subject] of ['user-es', 'user-rs', 'user-ed', 'user-hs'].entries()) {
      assert.equal((await ask(gateway, signed[index]!)).status, 200, subject)
      assert.deepEqual(upstream.requests.at(-1)!.values('x-user-id'), [subject])
    }
  })

  test('opens for HS256 with the kid that hosted projects give it', async () => {
    for (const kid of ['hosted', 'es']) {
      assert.equal((await ask(gateway, token(claims(), { header: { kid } }))).status, 200)
    }
  })

  test('holds signed tokens to the same claims', async () => {
    const cases: [Record<string, unknown>, number, string][] = [
      [{ exp: 1 }, 401, 'Token has expired.'],
      [{ aud: 'other' }, 401, 'Invalid token audience.'],
      [{ sub: undefined }, 401, 'Token missing required claims: sub'],
      [{ app_metadata: {} }, 403, 'User authenticated, but company association is missing in token.'],
    ]
    for (const [over, status, detail] of cases) {
      const answer = await ask(gateway, await es.sign(claims(over)))
      assert.equal(answer.status, status)
      assert.equal(answer.json().detail, detail)
    }
  })

  test('refuses HS256 keyed with a public key, in every form of it', async () => {
    for (const { publicJwk, kid } of [es, rs, ed]) {
      const key = createPublicKey({ key: publicJwk as object, format: 'jwk' })
      const forms = [
        key.export({ type: 'spki', format: 'pem' }).toString(),
        key.export({ type: 'spki', format: 'pem' }).toString().trim(),
        key.export({ type: 'spki', format: 'der' }).toString('latin1'),
        JSON.stringify(publicJwk),
        publicJwk.n ?? publicJwk.x ?? '',
      ]
      for (const secret of forms) {
        for (const alg of ['HS256', 'HS384', 'HS512']) {
          const answer = await ask(gateway, token(claims(), { secret, header: { alg, kid } }))
          assert.equal(answer.status, 401)
        }
      }
    }
  })

  test('takes no symmetric key from the key set', async () => {
    const answer = await ask(gateway, token(claims(), { secret: octets, header: { kid: 'oct' } }))
    assert.equal(answer.status, 401)
    assert.equal(answer.json().detail, 'Invalid token signature.')
  })

  test("refuses one key's signature under another's kid", async () => {
    assert.equal((await ask(gateway, await late.sign(claims(), { kid: 'es' }))).status, 401)
    assert.equal((await ask(gateway, await es.sign(claims(), { kid: 'rs' }))).status, 401)
  })
})

test('does without a secret, and then refuses HS256', async () => {
  const keys = await keyServer([es.publicJwk])
  const gateway = await gatewayWith(keys, { GATEWAY_JWT_SECRET: undefined })
  try {
    const signed = await es.sign()
    await until('an ES256 token passes', async () => (await ask(gateway, signed)).status === 200)
    for (const secret of ['', 'undefined', 'null', ' '.repeat(32)]) {
      assert.equal((await ask(gateway, token(claims(), { secret }))).status, 401)
    }
    assert.equal((await ask(gateway, token())).status, 401)
  } finally {
    await gateway.stop()
    await keys.close()
  }
})

describe('changing keys', () => {
  test('fetches once for all who wait for a new key, and drops a removed one', async () => {
    const keys = await keyServer([es.publicJwk])
    const gateway = await gatewayWith(keys, { GATEWAY_JWKS_COOLDOWN: '1' })
    try {
      await until('the keys are there', async () => (await ask(gateway, await es.sign())).status === 200)
      keys.keys = [late.publicJwk]
      const signed = await late.sign()
      // The cooldown since the first fetch may still run
      await until('the new key is known', async () => (await ask(gateway, signed)).status === 200)
      const gone = await ask(gateway, await es.sign(claims({ jti: 'after the rotation' })))
      assert.equal(gone.status, 401)
    } finally {
      await gateway.stop()
      await keys.close()
    }
  })

  test('answers a crowd with one fetch', async () => {
    const keys = await keyServer([es.publicJwk])
    const gateway = await gatewayWith(keys, { GATEWAY_JWKS_COOLDOWN: '1' })
    try {
      await until('the keys are there', async () => (await ask(gateway, await es.sign())).status === 200)
      // Nothing tells the end of a cooldown
      await delay(1_200)
      keys.keys = [es.publicJwk, late.publicJwk]
      const before = keys.fetches()
      const crowd = await Promise.all(
        Array.from({ length: 20 }, async (_, index) =>
          ask(gateway, await late.sign(claims({ jti: String(index) }))),
        ),
      )
      assert.deepEqual(new Set(crowd.map(answer => answer.status)), new Set([200]))
      assert.equal(keys.fetches() - before, 1)
    } finally {
      await gateway.stop()
      await keys.close()
    }
  })

  test('fetches at most once per cooldown for a thousand unknown keys, and serves the known ones', async () => {
    const keys = await keyServer([es.publicJwk])
    const gateway = await gatewayWith(keys, { GATEWAY_JWKS_COOLDOWN: '600' })
    try {
      const good = await es.sign()
      await until('the keys are there', async () => (await ask(gateway, good)).status === 200)
      const first = keys.fetches()
      const forged = await es.sign(claims({ jti: 'forged' }))
      const [, payload, signature] = forged.split('.')
      for (let round = 0; round < 20; round++) {
        const statuses = await Promise.all(
          Array.from({ length: 50 }, async (_, index) => {
            const header = { alg: 'ES256', kid: `random-${round}-${index}` }
            const encoded = Buffer.from(JSON.stringify(header)).toString('base64url')
            return (await ask(gateway, `${encoded}.${payload}.${signature}`)).status
          }),
        )
        assert.deepEqual(new Set(statuses), new Set([401]))
        assert.equal((await ask(gateway, good)).status, 200)
      }
      assert.ok(keys.fetches() - first <= 1, `${keys.fetches() - first} fetches`)
    } finally {
      await gateway.stop()
      await keys.close()
    }
  })
})

describe('a key server that is away', () => {
  test('answers 503 while it has no keys yet, is not ready, and recovers by itself', async () => {
    const keys = await keyServer([es.publicJwk])
    await keys.close()
    const gateway = await gatewayWith(keys, { GATEWAY_JWKS_COOLDOWN: '1', GATEWAY_JWT_SECRET: undefined })
    try {
      const cold = await ask(gateway, await es.sign())
      assert.equal(cold.status, 503)
      assert.equal(cold.json().detail, NOT_READY)
      assert.equal((await send(`${gateway.url}/ready`)).status, 503)
      assert.equal((await send(`${gateway.url}/health`)).status, 200)
      await keys.listen()
      await until('the keys are fetched', async () => (await ask(gateway, await es.sign())).status === 200)
      assert.equal((await send(`${gateway.url}/ready`)).status, 200)
    } finally {
      await gateway.stop()
      await keys.close()
    }
  })

  test('serves the tokens of the shared secret meanwhile', async () => {
    const keys = await keyServer([es.publicJwk])
    await keys.close()
    const gateway = await gatewayWith(keys)
    try {
      assert.equal((await ask(gateway, token())).status, 200)
      assert.equal((await ask(gateway, await es.sign())).status, 503)
      assert.equal((await ask(gateway, 'no.token.atall')).status, 401)
    } finally {
      await gateway.stop()
    }
  })

  test('becomes ready without any request that needs the keys', async () => {
    const keys = await keyServer([es.publicJwk])
    await keys.close()
    const gateway = await gatewayWith(keys, { GATEWAY_JWKS_COOLDOWN: '1', GATEWAY_JWT_SECRET: undefined })
    try {
      assert.equal((await send(`${gateway.url}/ready`)).status, 503)
      await keys.listen()
      await until('ready', async () => (await send(`${gateway.url}/ready`)).status === 200, 15_000)
    } finally {
      await gateway.stop()
      await keys.close()
    }
  })

  test('serves on with the keys that it has', async () => {
    const keys = await keyServer([es.publicJwk])
    const gateway = await gatewayWith(keys, { GATEWAY_JWKS_COOLDOWN: '1' })
    try {
      await until('the keys are there', async () => (await ask(gateway, await es.sign())).status === 200)
      await keys.close()
      const unknown = await ask(gateway, await late.sign())
      assert.ok([401, 503].includes(unknown.status), `status ${unknown.status}`)
      const known = await ask(gateway, await es.sign(claims({ jti: 'while away' })))
      assert.equal(known.status, 200)
      assert.equal((await send(`${gateway.url}/ready`)).status, 200)
    } finally {
      await gateway.stop()
      await keys.close()
    }
  })

  for (const [what, body] of [
    ['no JSON', '<html>maintenance</html>'],
    ['JSON of another shape', '{"keys":{"es":1}}'],
    ['an endless body', null],
  ] as const) {
    test(`keeps the keys that it has when the server answers with ${what}`, async () => {
      let broken = false
      let brokenFetches = 0
      const server = http.createServer((_, response) => {
        if (!broken) return void response.end(JSON.stringify({ keys: [es.publicJwk] }))
        brokenFetches++
        if (body !== null) return void response.end(body)
        const more = (): void => {
          while (!response.destroyed && response.write(' '.repeat(65_536)));
        }
        response.on('drain', more)
        more()
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const port = (server.address() as AddressInfo).port
      const gateway = await startGateway({
        env: {
          GATEWAY_INGEST_SERVICE_URL: upstream.url,
          GATEWAY_JWKS_URL: `http://127.0.0.1:${port}/`,
          GATEWAY_JWKS_COOLDOWN: '1',
        },
      })
      try {
        await until('the keys are there', async () => (await ask(gateway, await es.sign())).status === 200)
        broken = true
        await until('the broken answer was asked for', async () => {
          const answer = await ask(gateway, await late.sign())
          assert.ok([401, 503].includes(answer.status), `status ${answer.status}`)
          return brokenFetches > 0
        })
        const known = await ask(gateway, await es.sign(claims({ jti: what })))
        assert.equal(known.status, 200)
      } finally {
        await gateway.stop()
        server.close()
        server.closeAllConnections()
      }
    })
  }
})
