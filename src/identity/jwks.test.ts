import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import http, { type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, type TestContext, test } from 'node:test'
import type { JWK } from 'jose'
import { type KeyServer, keyServer, type SigningKey, signingKey } from '../../test/support/jwks.ts'
import { claims, token } from '../../test/support/token.ts'
import { verifierSettings } from '../../test/support/verifier.ts'
import { JwksKeys } from './jwks.ts'
import { JwksFetcher, type JwksSettings } from './jwks-fetcher.ts'
import type { Jwk, KeySource } from './key-source.ts'
import { TokenVerifier } from './verify.ts'

const UNKNOWN = { kind: 'unknown' }
const UNAVAILABLE = { kind: 'unavailable' }

let ec: SigningKey
let rsa: SigningKey
let ed: SigningKey
before(async () => {
  ;[ec, rsa, ed] = await Promise.all([
    signingKey('ES256', 'e'),
    signingKey('RS256', 'r'),
    signingKey('EdDSA', 'd'),
  ])
})

interface Told {
  readonly failures: unknown[]
  readonly changes: number[]
}

function keysOf(
  context: TestContext,
  url: string,
  over: Partial<JwksSettings> = {},
): { keys: JwksKeys; told: Told } {
  const told: Told = { failures: [], changes: [] }
  const settings = { url, refresh: 600, cooldown: 0, timeout: 5, ...over }
  const fetcher = new JwksFetcher(settings, error => told.failures.push(error))
  const keys = new JwksKeys(fetcher, count => told.changes.push(count))
  context.after(() => keys.stop())
  return { keys, told }
}

async function serving(context: TestContext, published: JWK[]): Promise<KeyServer> {
  const server = await keyServer(published)
  context.after(() => server.close())
  return server
}

async function kindOf(keys: JwksKeys, algorithm: string, kid?: string): Promise<string> {
  return (await keys.find(algorithm, kid)).kind
}

describe('the published keys', { timeout: 15_000 }, () => {
  test('are found by algorithm and kid', async context => {
    const server = await serving(context, [ec.publicJwk, rsa.publicJwk, ed.publicJwk])
    const { keys, told } = keysOf(context, server.url, { cooldown: 60 })
    assert.equal(keys.ready, false)
    await keys.start()
    assert.equal(keys.ready, true)
    assert.deepEqual(told.changes, [3])
    for (const [algorithm, kid] of [
      ['ES256', 'e'],
      ['RS256', 'r'],
      ['EdDSA', 'd'],
      ['Ed25519', 'd'],
    ] as const) {
      assert.equal(await kindOf(keys, algorithm, kid), 'key', algorithm)
      assert.equal(await kindOf(keys, algorithm), 'key', `${algorithm} without kid`)
    }
    for (const [algorithm, kid] of [
      ['ES256', 'r'],
      ['RS256', 'e'],
      ['HS256', 'e'],
      ['none', 'e'],
      ['ES256', '__proto__'],
      ['constructor', 'e'],
      ['ES384', 'e'],
      ['ES256', ''],
    ] as const) {
      assert.deepEqual(await keys.find(algorithm, kid), UNKNOWN, `${algorithm} ${kid}`)
    }
  })

  test('need a kid where several fit', async context => {
    const other = await signingKey('ES256', 'e2')
    const server = await serving(context, [ec.publicJwk, other.publicJwk])
    const { keys } = keysOf(context, server.url, { cooldown: 60 })
    await keys.start()
    assert.deepEqual(await keys.find('ES256', undefined), UNKNOWN)
    assert.equal(await kindOf(keys, 'ES256', 'e2'), 'key')
  })

  test('are not used for what they are not published for', async context => {
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    const shortModulus = short.export({ format: 'jwk' }).n!
    const unfit: JWK[] = [
      { kty: 'oct', k: 'AAAA', kid: 'a' },
      { ...ec.publicJwk, kid: 'b', use: 'enc' },
      { ...ec.publicJwk, kid: 'c', key_ops: ['encrypt'] },
      { ...ec.publicJwk, kid: 'd', alg: 'RS256' },
      { ...ec.publicJwk, kid: 'e', crv: 'P-384' },
      { kty: 'EC', crv: 'P-256', kid: 'f' },
      { ...ec.publicJwk, kid: 'g', x: 'AAAA' },
      { ...ec.publicJwk, kid: 'h', d: 'AAAA' },
      { ...rsa.publicJwk, kid: 'i', n: shortModulus },
      7 as never,
      null as never,
    ]
    const server = await serving(context, unfit)
    const { keys } = keysOf(context, server.url, { cooldown: 60 })
    await keys.start()
    for (const kid of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', undefined]) {
      for (const algorithm of ['ES256', 'RS256', 'HS256', 'oct']) {
        assert.deepEqual(await keys.find(algorithm, kid), UNKNOWN, `${algorithm} ${kid}`)
      }
    }
  })

  test('are fetched once for all who wait for an unknown kid', async context => {
    const server = await serving(context, [{ ...ec.publicJwk, kid: 'another' }])
    const { keys } = keysOf(context, server.url)
    await keys.start()
    server.keys = [ec.publicJwk]
    const found = await Promise.all(Array.from({ length: 50 }, () => kindOf(keys, 'ES256', 'e')))
    assert.deepEqual(new Set(found), new Set(['key']))
    assert.equal(server.fetches(), 2)
  })

  test('are not fetched again for unknown kids within the cooldown', async context => {
    const server = await serving(context, [ec.publicJwk])
    const { keys } = keysOf(context, server.url, { cooldown: 60 })
    await keys.start()
    for (let i = 0; i < 1_000; i++) assert.deepEqual(await keys.find('ES256', `unknown-${i}`), UNKNOWN)
    assert.equal(server.fetches(), 1)
    assert.equal(await kindOf(keys, 'ES256', 'e'), 'key')
  })

  test('tell of a change only when there is one', async context => {
    const server = await serving(context, [ec.publicJwk])
    const { keys, told } = keysOf(context, server.url)
    await keys.start()
    await keys.find('ES256', 'unknown')
    assert.deepEqual([server.fetches(), told.changes], [2, [1]])
    server.keys = [rsa.publicJwk]
    await keys.find('ES256', 'unknown')
    assert.deepEqual(told.changes, [1, 1])
    assert.deepEqual(await keys.find('ES256', 'e'), UNKNOWN)
  })

  test('serve on while the endpoint is away', async context => {
    const server = await keyServer([ec.publicJwk])
    const { keys, told } = keysOf(context, server.url)
    await keys.start()
    await server.close()
    assert.deepEqual(await keys.find('ES256', 'unknown'), UNKNOWN)
    assert.equal(told.failures.length, 1)
    assert.equal(await kindOf(keys, 'ES256', 'e'), 'key')
    assert.equal(keys.ready, true)
  })

  test('are unavailable until a first fetch succeeds, which is tried again by itself', async context => {
    const server = await keyServer([ec.publicJwk])
    const { url } = server
    await server.close()
    const { keys, told } = keysOf(context, url)
    await keys.start()
    assert.equal(told.failures.length, 1)
    for (let i = 0; i < 20; i++) assert.deepEqual(await keys.find('ES256', 'e'), UNAVAILABLE)
    assert.equal(told.failures.length, 1, 'requests hammer a dead endpoint')
    await server.listen()
    context.after(() => server.close())
    await server.fetched()
    // Joins the fetch that is under way, or finds its keys.
    assert.equal(await kindOf(keys, 'ES256', 'e'), 'key')
  })
})

/** A source elsewhere, such as in another thread: gives what it is told to give, when it is told. */
class DistantSource implements KeySource {
  give: (keys: readonly Jwk[]) => void = () => {}
  answer: Promise<void> | null = null
  asked = 0
  stopped = false
  async start(listener: (keys: readonly Jwk[]) => void): Promise<void> {
    this.give = keys => listener(structuredClone(keys))
  }
  wanted(): Promise<void> | null {
    this.asked++
    return this.answer
  }
  stop(): void {
    this.stopped = true
  }
}

describe('keys of a source elsewhere', () => {
  test('are found without a promise when they are at hand, or will not come', async () => {
    const source = new DistantSource()
    const changes: number[] = []
    const keys = new JwksKeys(source, count => changes.push(count))
    await keys.start()
    assert.equal(keys.ready, false)
    assert.deepEqual(keys.find('ES256', 'e'), UNAVAILABLE)
    source.give([plain(ec.publicJwk)])
    assert.equal(keys.ready, true)
    assert.ok(!(keys.find('ES256', 'e') instanceof Promise))
    assert.equal(source.asked, 1)
    assert.deepEqual(keys.find('ES256', 'r'), UNKNOWN)
    assert.equal(source.asked, 2)
    keys.stop()
    assert.deepEqual([changes, source.stopped], [[1], true])
  })

  test('are waited for when they may come, and drop those that went', async () => {
    const source = new DistantSource()
    const keys = new JwksKeys(source, () => {})
    await keys.start()
    source.give([plain(ec.publicJwk)])
    const { promise, resolve } = Promise.withResolvers<void>()
    source.answer = promise
    const found = Promise.all([keys.find('RS256', 'r'), keys.find('RS256', 'other')])
    source.give([plain(rsa.publicJwk)])
    resolve()
    const [key, other] = await found
    assert.deepEqual([key.kind, other], ['key', UNKNOWN])
    source.answer = null
    assert.deepEqual(keys.find('ES256', 'e'), UNKNOWN)
  })

  test('verify no token any more once they went, not even one seen before', async () => {
    const source = new DistantSource()
    const keys = new JwksKeys(source, () => verifier.forget())
    const verifier = new TokenVerifier(verifierSettings({ signatureAlgorithms: ['ES256'] }), keys)
    await keys.start()
    source.give([plain(ec.publicJwk)])
    const good = await ec.sign()
    assert.equal((await verifier.verify(good)).kind, 'verified')
    source.give([plain(rsa.publicJwk)])
    assert.equal((await verifier.verify(good)).kind, 'refused')
    const impostor = await signingKey('ES256', 'e')
    source.give([plain(impostor.publicJwk)])
    assert.deepEqual(await verifier.verify(good), { kind: 'refused', code: 'token_signature' })
    assert.equal((await verifier.verify(await impostor.sign())).kind, 'verified')
  })

  test('take a promise for a token only while they are fetched', async () => {
    const source = new DistantSource()
    const keys = new JwksKeys(source, () => {})
    const verifier = new TokenVerifier(verifierSettings({ signatureAlgorithms: ['ES256'] }), keys)
    await keys.start()
    const { promise, resolve } = Promise.withResolvers<void>()
    source.answer = promise
    const good = await ec.sign()
    const verdict = verifier.verify(good)
    assert.ok(verdict instanceof Promise)
    source.give([plain(ec.publicJwk)])
    resolve()
    assert.equal((await verdict).kind, 'verified')
    assert.ok(!(verifier.verify(await ec.sign(claims({ jti: 'next' }))) instanceof Promise))
  })
})

function plain(jwk: JWK): Jwk {
  return JSON.parse(JSON.stringify(jwk))
}

describe('a key endpoint that misbehaves', { timeout: 15_000 }, () => {
  const answers: [string, RequestListener][] = [
    ['answers 500', (_, response) => response.writeHead(500).end('{"keys":[]}')],
    ['redirects', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
    ['sends no JSON', (_, response) => response.end('<html>')],
    ['sends null', (_, response) => response.end('null')],
    ['sends no list', (_, response) => response.end('{"keys":{}}')],
    ['sends 2 MB', (_, response) => response.end(`{"keys":[],"x":"${'x'.repeat(2_000_000)}"}`)],
    [
      'breaks off',
      (_, response) =>
        response.writeHead(200, { 'content-length': 99 }).end('{"keys"', () => response.destroy()),
    ],
    ['is silent', () => {}],
  ]
  for (const [what, answer] of answers) {
    test(`${what} leaves the keys unavailable, and nothing thrown`, async context => {
      const server = http.createServer(answer)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      context.after(() => {
        server.closeAllConnections()
        server.close()
      })
      const { keys, told } = keysOf(context, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
        timeout: 0.3,
      })
      await keys.start()
      assert.equal(told.failures.length, 1)
      assert.deepEqual(await keys.find('ES256', 'e'), UNAVAILABLE)
    })
  }
})

describe('a token signed with a published key', { timeout: 15_000 }, () => {
  let server: KeyServer
  let keys: JwksKeys
  before(async () => {
    server = await keyServer([ec.publicJwk, rsa.publicJwk, ed.publicJwk])
    const settings = { url: server.url, refresh: 600, cooldown: 60, timeout: 5 }
    keys = new JwksKeys(new JwksFetcher(settings, () => {}), () => {})
    await keys.start()
  })
  after(async () => {
    keys.stop()
    await server.close()
  })

  const verdictOf = async (text: string, algorithms = ['ES256', 'RS256', 'EdDSA']): Promise<string> => {
    const verifier = new TokenVerifier(verifierSettings({ signatureAlgorithms: algorithms }), keys)
    const verdict = await verifier.verify(text)
    return verdict.kind === 'refused' ? verdict.code : 'verified'
  }

  test('is verified, beside those with the shared secret', async () => {
    for (const key of [ec, rsa, ed]) assert.equal(await verdictOf(await key.sign()), 'verified')
    assert.equal(await verdictOf(token(claims(), { header: { kid: 'e' } })), 'verified')
  })

  test('is refused when it was tampered with, or its algorithm is not accepted', async () => {
    const good = await ec.sign()
    const [header, , signature] = good.split('.')
    const payload = Buffer.from(JSON.stringify(claims({ sub: 'evil' }))).toString('base64url')
    assert.equal(await verdictOf(`${header}.${payload}.${signature}`), 'token_signature')
    assert.equal(await verdictOf(good, ['RS256']), 'token_invalid')
  })

  test('is refused when the key is another one of the same kid', async () => {
    const impostor = await signingKey('ES256', 'e')
    assert.equal(await verdictOf(await impostor.sign()), 'token_signature')
    assert.equal(
      await verdictOf(await impostor.sign(claims(), { jwk: impostor.publicJwk })),
      'token_signature',
    )
  })

  test('is not an HMAC keyed with a public key', async () => {
    const { n, x } = { n: rsa.publicJwk.n!, x: ec.publicJwk.x! }
    for (const secret of [n, x, JSON.stringify(rsa.publicJwk), JSON.stringify(ec.publicJwk)]) {
      for (const [alg, kid] of [
        ['HS256', 'r'],
        ['HS256', 'e'],
        ['RS256', 'r'],
        ['ES256', 'e'],
      ]) {
        const verdict = await verdictOf(token(claims(), { secret, header: { alg, kid } }))
        assert.match(verdict, /^token_(?:signature|invalid)$/, `${alg} ${kid}`)
      }
    }
  })

  test('needs a kid that is text', async () => {
    for (const kid of [7, ['e'], { toString: 'e' }, null]) {
      assert.equal(await verdictOf(token(claims(), { header: { alg: 'ES256', kid } })), 'token_invalid')
    }
  })
})
