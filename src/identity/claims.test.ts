import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { claims as claimSet } from '../../test/support/token.ts'
import { fieldLine } from '../wire/request-head.ts'
import { type ClaimRules, checkClaims, claimAt } from './claims.ts'
import type { Identity } from './identity.ts'

const NOW = Math.floor(Date.now() / 1000)
const ABSENT = undefined
const RULES: ClaimRules = {
  audience: 'authenticated',
  issuers: null,
  leeway: 30,
  tenantClaim: ['app_metadata', 'company_id'],
}

/** As a token would bring it: through JSON. */
function check(over: Record<string, unknown>, rules: Partial<ClaimRules> = {}) {
  return checkClaims(JSON.parse(JSON.stringify(claimSet(over))), { ...RULES, ...rules }, NOW)
}

function identityOf(over: Record<string, unknown>, rules: Partial<ClaimRules> = {}): Identity {
  const verdict = check(over, rules)
  assert.ok(verdict.kind === 'verified', JSON.stringify(verdict))
  return verdict.identity
}

function refusalOf(over: Record<string, unknown>, rules: Partial<ClaimRules> = {}): string {
  const verdict = check(over, rules)
  return verdict.kind === 'refused' ? verdict.code : 'verified'
}

describe('the claims of a token', () => {
  test('say who asks, for which company', () => {
    const { userId, companyId, email, expiresAt } = identityOf({
      sub: 'u1',
      email: 'a@b.example',
      exp: NOW + 60,
    })
    assert.deepEqual([userId, companyId, email, expiresAt], ['u1', 'acme', 'a@b.example', NOW + 60])
  })

  test('say when the token was issued, and for which sign-in', () => {
    const { issuedAt, sessionId } = identityOf({ iat: NOW - 7, session_id: 's1' })
    assert.deepEqual([issuedAt, sessionId], [NOW - 7, 's1'])
    for (const session_id of [undefined, null, 7, ['s1']]) {
      assert.equal(identityOf({ session_id }).sessionId, null)
    }
    // The oldest of all: whoever refuses tokens issued before some moment refuses this one
    assert.equal(identityOf({ iat: ABSENT }).issuedAt, 0)
  })

  for (const [over, missing] of [
    [{ sub: ABSENT }, 'sub'],
    [{ aud: ABSENT }, 'aud'],
    [{ exp: ABSENT }, 'exp'],
    [{ exp: ABSENT, sub: ABSENT }, 'sub, exp'],
    [{ sub: null, aud: null, exp: null }, 'sub, aud, exp'],
  ] as const) {
    test(`are missed by name: ${missing}`, () => {
      const verdict = check(over)
      assert.ok(verdict.kind === 'refused')
      assert.equal(verdict.code, 'token_claims_missing')
      assert.equal(verdict.detail, `Token missing required claims: ${missing}`)
    })
  }

  for (const [what, over, code] of [
    ['expired longer ago than the leeway', { exp: NOW - 31 }, 'token_expired'],
    ['expired exactly the leeway ago', { exp: NOW - 30 }, 'token_expired'],
    ['expired within the leeway', { exp: NOW - 29 }, 'verified'],
    ['not valid yet', { nbf: NOW + 31 }, 'token_invalid'],
    ['not valid yet, within the leeway', { nbf: NOW + 30 }, 'verified'],
    ['issued in the future', { iat: NOW + 31 }, 'token_invalid'],
    ['issued in the future, within the leeway', { iat: NOW + 30 }, 'verified'],
    ['exp as text', { exp: String(NOW + 60) }, 'token_invalid'],
    ['nbf as text', { nbf: '0' }, 'token_invalid'],
    ['iat as an object', { iat: {} }, 'token_invalid'],
    ['another audience', { aud: 'anon' }, 'token_audience'],
    ['a list with the audience', { aud: ['x', 'authenticated'] }, 'verified'],
    ['a list without it', { aud: ['x'] }, 'token_audience'],
    ['an empty list', { aud: [] }, 'token_audience'],
    ['an audience within an audience', { aud: [['authenticated']] }, 'token_audience'],
    ['part of the audience', { aud: 'authenticated2' }, 'token_audience'],
    ['expired and without a company', { exp: NOW - 100, app_metadata: {} }, 'token_expired'],
    ['expired and for another audience', { exp: NOW - 100, aud: 'x' }, 'token_expired'],
    ['sub empty', { sub: '' }, 'token_invalid'],
    ['sub a number', { sub: 7 }, 'token_invalid'],
    ['sub a list', { sub: ['u'] }, 'token_invalid'],
    ['sub with a line break', { sub: 'u\r\nX-Company-ID: evil' }, 'subject_unusable'],
    ['sub with NUL', { sub: 'u\0' }, 'subject_unusable'],
    ['sub beyond ASCII', { sub: 'ü' }, 'subject_unusable'],
    ['sub with a space behind it', { sub: 'u ' }, 'subject_unusable'],
    ['sub of 10,000 characters', { sub: 'u'.repeat(10_000) }, 'subject_unusable'],
    ['email a list', { email: ['a@b'] }, 'token_invalid'],
    ['email a number', { email: 7 }, 'token_invalid'],
    ['email with a line break', { email: 'a\r\nb' }, 'verified'],
  ] as const) {
    test(`are ${code}: ${what}`, () => assert.equal(refusalOf(over), code))
  }

  test('need an issuer only where one is configured', () => {
    const issuers = ['https://a.example/auth/v1', 'b']
    assert.equal(refusalOf({ iss: 'https://a.example/auth/v1' }, { issuers }), 'verified')
    assert.equal(refusalOf({ iss: 'b' }, { issuers }), 'verified')
    for (const iss of [undefined, null, '', 'https://a.example/auth/v1/', 'c', ['b'], 7]) {
      assert.equal(refusalOf({ iss }, { issuers }), 'token_invalid', JSON.stringify(iss))
      assert.equal(refusalOf({ iss }), 'verified')
    }
  })

  test('of no object are refused', () => {
    for (const payload of [null, 7, 'x', true, [], [{ sub: 'u' }]]) {
      assert.equal(checkClaims(payload, RULES, NOW).kind, 'refused')
    }
  })

  test("may have an empty e-mail, or none: that is nobody's address", () => {
    for (const email of ['', null, undefined]) assert.equal(identityOf({ email }).email, null)
  })
})

describe('the company', () => {
  const companies: [unknown, string | null][] = [
    ['acme', 'acme'],
    ['Acme & Sons', 'Acme & Sons'],
    ['7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11', '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11'],
    [42, '42'],
    [0, '0'],
    [9_007_199_254_740_991, '9007199254740991'],
    [9_007_199_254_740_992, null],
    [1.5, null],
    [1e300, null],
    ['', null],
    [' ', null],
    [' acme', null],
    ['acme ', null],
    ['ac\nme', null],
    ['ac\r\nX-User-ID: root', null],
    ['ac\0me', null],
    ['ac\tme', null],
    ['acmé', null],
    ['株式会社', null],
    ['x'.repeat(1_000), null],
    [null, null],
    [true, null],
    [['acme'], null],
    [{ id: 'acme' }, null],
    [undefined, null],
  ]
  for (const [claim, company] of companies) {
    test(`of ${(JSON.stringify(claim) ?? 'no claim').slice(0, 60)} is ${company}`, () => {
      assert.equal(identityOf({ app_metadata: { company_id: claim } }).companyId, company)
    })
  }

  test('comes from the configured claim and nowhere else', () => {
    const elsewhere = { app_metadata: {}, user_metadata: { company_id: 'evil' }, company_id: 'evil' }
    assert.equal(identityOf(elsewhere).companyId, null)
    assert.equal(identityOf({ app_metadata: 'x', company_id: 'evil' }).companyId, null)
    assert.equal(identityOf({ org: { id: 'acme' } }, { tenantClaim: ['org', 'id'] }).companyId, 'acme')
  })
})

describe('a claim path', () => {
  test('finds own properties of objects only', () => {
    const claims = JSON.parse('{"a":{"b":{"c":1}},"l":[1],"s":"text","__proto__":{"x":1}}')
    assert.equal(claimAt(claims, ['a', 'b', 'c']), 1)
    assert.deepEqual(claimAt(claims, ['a', 'b']), { c: 1 })
    assert.equal(claimAt(claims, ['__proto__', 'x']), 1)
    for (const path of [
      ['a', 'x'],
      ['constructor'],
      ['a', 'toString'],
      ['s', 'length'],
      ['l', '0'],
      ['l', 'length'],
      ['a', 'b', 'c', 'd'],
      ['hasOwnProperty', 'name'],
    ]) {
      assert.equal(claimAt(claims, path), undefined, path.join('.'))
    }
  })
})

describe('any payload', () => {
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('u', 'authenticated', NOW + 60),
  )
  const payload = fc.oneof(
    fc.jsonValue(),
    fc.record(
      {
        sub: value,
        aud: value,
        exp: value,
        nbf: value,
        email: value,
        iss: value,
        app_metadata: fc.oneof(value, fc.record({ company_id: value })),
      },
      { requiredKeys: [] },
    ),
    fc
      .record({
        sub: fc.string({ unit: 'binary', minLength: 1 }),
        email: value,
        app_metadata: fc.record({ company_id: value }),
      })
      .map(over => claimSet(over)),
  )

  test('gives a verdict, and no identity that could break a header line', () => {
    fc.assert(
      fc.property(payload, claims => {
        const verdict = checkClaims(JSON.parse(JSON.stringify(claims)), RULES, NOW)
        if (verdict.kind === 'refused') return
        const { userId, companyId } = verdict.identity
        for (const text of [userId, companyId ?? 'none']) {
          assert.match(fieldLine('X-A', text), /^X-A: [\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\r\n$/)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})
