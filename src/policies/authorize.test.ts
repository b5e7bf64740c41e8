import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf, identityOf } from '../../test/support/exchange.ts'
import { gatewaySchema } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { reply } from '../exchange.ts'
import type { Identity } from '../identity/identity.ts'
import { authorize } from './authorize.ts'

/** `passed`, or the code of the refusal. */
function verdict(route: Record<string, unknown>, identity?: Identity): string {
  const [parsed] = gatewaySchema.parse({ routes: [{ path: '/', ...route }] }).routes
  try {
    void authorize(parsed!)(exchangeOf(identity === undefined ? {} : { identity }), () => reply(204, []))
    return 'passed'
  } catch (error) {
    assert.ok(error instanceof GatewayError)
    return error.code
  }
}

const withClaims = (claims: Record<string, unknown>): Identity => identityOf({ claims })

describe('a token', () => {
  test('needs a company, unless the route says otherwise', () => {
    assert.equal(verdict({}, identityOf()), 'passed')
    assert.equal(verdict({}, identityOf({ companyId: null })), 'company_missing')
    assert.equal(verdict({ company: 'optional' }, identityOf({ companyId: null })), 'passed')
  })

  test('of nobody has nothing to show', () => {
    assert.equal(verdict({ require: { roles: ['admin'] } }), 'passed')
  })

  const cases: [Record<string, unknown>, Record<string, unknown>, boolean][] = [
    [{ claims: { plan: 'pro' } }, { plan: 'pro' }, true],
    [{ claims: { plan: 'pro' } }, { plan: 'free' }, false],
    [{ claims: { plan: 'pro' } }, {}, false],
    [{ claims: { plan: ['pro', 'max'] } }, { plan: 'max' }, true],
    [{ claims: { plan: 'pro' } }, { plan: ['free', 'pro'] }, true],
    [{ claims: { plan: 'pro' } }, { plan: [['pro']] }, false],
    [{ claims: { 'app_metadata.plan': 'pro' } }, { app_metadata: { plan: 'pro' } }, true],
    [{ claims: { 'app_metadata.plan': 'pro' } }, { 'app_metadata.plan': 'pro' }, false],
    [{ claims: { a: 1 } }, { a: '1' }, false],
    [{ claims: { a: true } }, { a: 1 }, false],
    [{ claims: { a: false } }, {}, false],
    [{ claims: { a: 'x', b: 'y' } }, { a: 'x' }, false],
    [{ claims: { a: 'x', b: 'y' } }, { a: 'x', b: 'y' }, true],
    [{ claims: { 'constructor.name': 'Object' } }, {}, false],
    [{ roles: ['admin'] }, { role: 'admin' }, true],
    [{ roles: ['admin', 'owner'] }, { role: 'owner' }, true],
    [{ roles: ['admin'] }, { role: 'authenticated' }, false],
    [{ roles: ['admin'] }, { role: 'administrator' }, false],
    [{ roles: ['admin'] }, { user_metadata: { role: 'admin' } }, false],
    [
      { roles: ['admin'], rolesClaim: 'app_metadata.roles' },
      { app_metadata: { roles: ['x', 'admin'] } },
      true,
    ],
    [{ roles: ['admin'], rolesClaim: 'app_metadata.roles' }, { role: 'admin' }, false],
    [{ roles: ['admin'], claims: { plan: 'pro' } }, { role: 'admin' }, false],
  ]
  for (const [require, claims, passes] of cases) {
    test(`${JSON.stringify(claims)} ${passes ? 'fits' : 'does not fit'} ${JSON.stringify(require)}`, () => {
      assert.equal(verdict({ require }, withClaims(claims)), passes ? 'passed' : 'claim_required')
    })
  }
})
