import type { webcrypto } from 'node:crypto'
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { claims, encode, token } from '../token.ts'

// Tokens by number: the same number gives the same user and company in every process, another one never does.

export type TokenSource =
  | { kind: 'none' }
  /** One token for all requests. */
  | { kind: 'one' }
  /** Valid ones, each of another user and another company; `count` different ones, then the first again. */
  | { kind: 'valid'; algorithm: 'HS256' | 'ES256'; count: number }
  /** Valid in form, each with a signature of another secret or of a key that nobody has published. */
  | { kind: 'forged'; algorithm: 'HS256' | 'ES256'; count: number }
  /** Three parts of letters that say nothing. */
  | { kind: 'garbage'; count: number }

export const KEY_ID = 'benchmark'

/** Made anew by the first process of a run and handed down to those that it starts: no key lies in the repository. */
const KEY_VARIABLE = 'BENCH_SIGNING_KEY'
process.env[KEY_VARIABLE] ??= JSON.stringify(
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
)
/** Likewise the time of issue, so that the same number stays the same token in a later turn. */
const TIME_VARIABLE = 'BENCH_ISSUED_AT'
process.env[TIME_VARIABLE] ??= String(Math.floor(Date.now() / 1000))
const ISSUED_AT = Number(process.env[TIME_VARIABLE])

const PRIVATE_KEY = createPrivateKey({
  format: 'jwk',
  key: JSON.parse(process.env[KEY_VARIABLE]) as webcrypto.JsonWebKey,
})

/** The key set that the identity provider of the benchmark publishes. */
export function keySet(): string {
  const { kty, crv, x, y } = createPublicKey(PRIVATE_KEY).export({ format: 'jwk' })
  return JSON.stringify({ keys: [{ kty, crv, x, y, kid: KEY_ID, alg: 'ES256', use: 'sig' }] })
}

/** Token number `index` of a source; null where it has none. */
export function tokenAt(source: TokenSource, index: number): string | null {
  if (source.kind === 'none') return null
  if (source.kind === 'one') return token()
  const number = index % source.count
  if (source.kind === 'garbage') return `${scramble(number, 1)}.${scramble(number, 4)}.${scramble(number, 2)}`
  if (source.algorithm === 'HS256') {
    const secret = `another secret, of nobody here ${source.kind}`
    return source.kind === 'valid' ? token(ofNumber(number)) : token(ofNumber(number), secret)
  }
  const signed = `${encode({ alg: 'ES256', typ: 'JWT', kid: KEY_ID })}.${encode(claims(ofNumber(number)))}`
  const signature = signES256(signed)
  // The last byte turned: still a well-formed pair of numbers, of which the curve must find out that they are wrong.
  if (source.kind === 'forged') signature[63]! ^= 1
  return `${signed}.${signature.toString('base64url')}`
}

/** User and company of a number; about as long as real ones. */
function ofNumber(number: number): Record<string, unknown> {
  return {
    iat: ISSUED_AT,
    exp: ISSUED_AT + 6 * 3600,
    sub: `8c0f2a6e-51d4-4b7b-8f1d-${digitsOf(number)}`,
    app_metadata: { provider: 'email', company_id: companyOf(number) },
  }
}

/** The company that the token of a number names. */
export function companyOf(number: number): string {
  return `3f1d7a52-6a0e-4c0b-9b7e-${digitsOf(number)}`
}

function digitsOf(number: number): string {
  return String(number).padStart(12, '0')
}

function signES256(text: string): Buffer {
  return sign('sha256', Buffer.from(text), { key: PRIVATE_KEY, dsaEncoding: 'ieee-p1363' })
}

/** Letters that follow from a number, 60 in each part. */
function scramble(number: number, parts: number): string {
  let state = number + 1
  let text = ''
  for (let length = 0; length < parts * 60; length++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    text += 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef'[state >>> 27]
  }
  return text
}
