/** The verdicts on signatures against those of another implementation, for tokens good, bad and nearly good. */

import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import fc from 'fast-check'
import { CompactSign, compactVerify, exportJWK, generateKeyPair, importJWK } from 'jose'
import { claims } from '../../test/support/token.ts'
import { verifierSettings } from '../../test/support/verifier.ts'
import { JwksKeys } from './jwks.ts'
import type { KeySource } from './key-source.ts'
import { type HmacAlgorithm, TokenVerifier } from './verify.ts'

const SECRETS = {
  short: 's'.repeat(32),
  block: 'b'.repeat(64),
  long: 'l'.repeat(200),
  wide: 'ü株'.repeat(20),
}

interface Subject {
  readonly sign: (payload: string, header?: object) => Promise<string>
  readonly ours: (token: string) => Promise<boolean>
  readonly theirs: (token: string) => Promise<boolean>
}

function hmacSubject(alg: HmacAlgorithm, secret: string): Subject {
  const key = new TextEncoder().encode(secret)
  const verifier = new TokenVerifier(
    verifierSettings({ secret: { algorithm: alg, value: secret }, cacheBytes: 0 }),
    null,
  )
  return subjectOf(alg, key, key, verifier)
}

async function publicSubject(alg: 'ES256' | 'RS256' | 'EdDSA'): Promise<Subject> {
  const pair = await generateKeyPair(alg, { extractable: true })
  const jwk = { ...(await exportJWK(pair.publicKey)), alg, kid: 'k' }
  const source: KeySource = {
    start: async listener => listener([JSON.parse(JSON.stringify(jwk))]),
    wanted: () => null,
    stop() {},
  }
  const keys = new JwksKeys(source, () => {})
  await keys.start()
  const verifier = new TokenVerifier(verifierSettings({ signatureAlgorithms: [alg], cacheBytes: 0 }), keys)
  return subjectOf(alg, pair.privateKey, (await importJWK(jwk, alg)) as CryptoKey, verifier)
}

function subjectOf(
  alg: string,
  signingKey: CryptoKey | Uint8Array,
  key: CryptoKey | Uint8Array,
  verifier: TokenVerifier,
): Subject {
  const options = { algorithms: [alg] }
  return {
    sign: (payload, header = {}) =>
      new CompactSign(new TextEncoder().encode(payload))
        .setProtectedHeader({ alg, ...header })
        .sign(signingKey),
    ours: async token => (await verifier.verify(token)).kind === 'verified',
    theirs: token =>
      compactVerify(token, key, options).then(
        () => true,
        () => false,
      ),
  }
}

/** Every part is the one encoding of its bytes. The other implementation is generous there (RFC 4648 §3.5). */
function isCanonical(token: string): boolean {
  return token.split('.').every(part => Buffer.from(part, 'base64url').toString('base64url') === part)
}

const INSERTED = ['.', '=', ' ', '\n', '+', '/', 'A', '_', '\xe9', '\u0141', '']
/** Ways to spoil a token, or to leave it as it is. */
const change = fc.oneof(
  fc.constant((token: string) => token),
  fc.tuple(fc.nat(), fc.nat({ max: 5 })).map(
    ([at, bit]) =>
      (token: string) =>
        flip(token, at, bit),
  ),
  fc.nat({ max: 40 }).map(back => (token: string) => flip(token, token.length - 1 - back, back % 6)),
  fc
    .tuple(fc.nat(), fc.constantFrom(...INSERTED), fc.nat({ max: 1 }))
    .map(([at, text, cut]) => (token: string) => {
      const place = at % (token.length + 1)
      return token.slice(0, place) + text + token.slice(place + cut)
    }),
  fc.constantFrom('=', '==', '.', ' ', 'A', 'AA', 'AAA').map(end => (token: string) => token + end),
  fc.nat({ max: 5 }).map(count => (token: string) => token.slice(0, token.length - count)),
  fc.tuple(fc.nat({ max: 2 }), fc.constantFrom('', 'e30', 'eyJhbGciOiJub25lIn0', 'AAAA')).map(
    ([index, text]) =>
      (token: string) =>
        token.split('.').with(index, text).join('.'),
  ),
  fc.shuffledSubarray([0, 1, 2], { minLength: 3 }).map(order => (token: string) => {
    const parts = token.split('.')
    return order.map(index => parts[index]).join('.')
  }),
)

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** Flips one of the six bits of a character. */
function flip(token: string, at: number, bit: number): string {
  const place = at % token.length
  const index = ALPHABET.indexOf(token[place]!)
  if (index === -1) return token
  return token.slice(0, place) + ALPHABET[index ^ (1 << bit)] + token.slice(place + 1)
}

async function agree(subject: Subject, numRuns: number): Promise<void> {
  const payload = fc.string({ unit: 'grapheme', maxLength: 200 })
  const seen = { good: 0, bad: 0 }
  await fc.assert(
    fc.asyncProperty(payload, change, async (text, spoil) => {
      const token = spoil(await subject.sign(JSON.stringify(claims({ text }))))
      const expected = (await subject.theirs(token)) && isCanonical(token)
      assert.equal(await subject.ours(token), expected, token)
      seen[expected ? 'good' : 'bad']++
    }),
    { numRuns },
  )
  assert.ok(seen.good > 0 && seen.bad > 0, JSON.stringify(seen))
}

describe('verdicts on signatures agree with those of another implementation', () => {
  for (const algorithm of ['HS256', 'HS384', 'HS512'] as const) {
    for (const [what, secret] of Object.entries(SECRETS)) {
      test(`for ${algorithm} with a ${what} secret`, () => agree(hmacSubject(algorithm, secret), 100))
    }
  }

  for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
    let subject: Subject
    let other: Subject
    before(async () => {
      ;[subject, other] = await Promise.all([publicSubject(algorithm), publicSubject(algorithm)])
    })
    test(`for ${algorithm}`, () => agree(subject, 200))

    test(`for ${algorithm}, signed with another key of the same kind`, async () => {
      const token = await other.sign(JSON.stringify(claims()))
      assert.deepEqual([await subject.ours(token), await subject.theirs(token)], [false, false])
    })
  }

  test('for ES256 with signatures of other lengths, in DER, and of zeros', async () => {
    const subject = await publicSubject('ES256')
    const [header, payload, signature] = (await subject.sign(JSON.stringify(claims()))).split('.')
    const bytes = Buffer.from(signature!, 'base64url')
    const integer = (part: Buffer): Buffer => {
      const value = part[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), part]) : part
      return Buffer.concat([Buffer.of(2, value.length), value])
    }
    const sequence = Buffer.concat([integer(bytes.subarray(0, 32)), integer(bytes.subarray(32))])
    const der = Buffer.concat([Buffer.of(0x30, sequence.length), sequence])
    const forged = [
      der,
      bytes.subarray(0, 63),
      Buffer.concat([bytes, Buffer.of(0)]),
      Buffer.alloc(64),
      Buffer.alloc(0),
      Buffer.concat([bytes, bytes]),
    ]
    for (const one of forged) {
      const token = `${header}.${payload}.${one.toString('base64url')}`
      assert.deepEqual([await subject.ours(token), await subject.theirs(token)], [false, false])
    }
    assert.equal(await subject.ours(`${header}.${payload}.${signature}`), true)
  })
})
