import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf, identityOf } from '../../test/support/exchange.ts'
import { limitsSchema } from '../config/limits.ts'
import { type Exchange, reply } from '../exchange.ts'
import type { Identity } from '../identity/identity.ts'
import type { LimitStore, Meter } from './meter.ts'
import { Plans, RouteRules } from './plans.ts'

const CONFIG = limitsSchema.parse({
  companies: { listed: 'pro' },
  defaultPlan: 'free',
  plans: {
    free: { rules: [{ name: 'a', limit: 1, window: 1 }] },
    pro: {
      weight: 4,
      rules: [
        { name: 'a', limit: 2, window: 1 },
        { name: 'only', limit: 1, window: 1, routes: ['x'] },
      ],
    },
    mixed: {
      rules: [
        { name: 'user', limit: 1, window: 1, by: 'user' },
        { name: 'ip', limit: 1, window: 1, by: 'ip' },
        { name: 'team', limit: 1, window: 1, by: 'claim:app_metadata.team' },
        { name: 'company', concurrent: 1 },
        { name: 'sockets', sockets: 1 },
      ],
    },
  },
})

function rulesOf(route = 'x') {
  const made: string[] = []
  const unknown: string[] = []
  const asked: string[] = []
  const store: LimitStore = {
    meter(rule, subject) {
      made.push(`${rule.name}|${subject}`)
      return { rule, take: () => asked.push(rule.name), giveBack() {}, charge() {} } satisfies Meter
    },
  }
  const plans = new Plans(CONFIG, (company, plan) => unknown.push(`${company} ${plan}`))
  const events = { onViolated() {}, refuse: () => reply(429, []) }
  return { plans, made, unknown, asked, rules: new RouteRules(plans, store, events, route) }
}

/** The names of the rules that are asked about a request. */
function askedOf(
  { rules, asked }: ReturnType<typeof rulesOf>,
  identity: Identity,
  kind: 'requests' | 'handshakes',
): string[] {
  const from = asked.length
  rules.bind(identity, client())[kind]?.pass(exchangeOf() as Exchange, () => reply(200, []))
  return asked.slice(from)
}

const client = (ip = '203.0.113.7') => ({ ip, protocol: 'http' as const, forwardedLines: '' })
const withPlan = (plan: unknown, over: Partial<Identity> = {}): Identity =>
  identityOf({ claims: { app_metadata: { plan, team: 'red' } }, ...over })

describe('the plan', () => {
  test('of a company: the table, then the claim, then the default', () => {
    const { plans } = rulesOf()
    assert.equal(plans.of(withPlan('mixed', { companyId: 'listed' })).name, 'pro')
    assert.equal(plans.of(withPlan('mixed')).name, 'mixed')
    assert.equal(plans.of(withPlan(undefined)).name, 'free')
    assert.equal(plans.of(null).name, 'free')
  })

  for (const plan of [7, null, '', ['pro'], { pro: 1 }])
    test(`is the default where the claim is ${JSON.stringify(plan)}`, () => {
      const { plans, unknown } = rulesOf()
      assert.equal(plans.of(withPlan(plan)).name, 'free')
      assert.deepEqual(unknown, [])
    })

  for (const plan of ['gold', '__proto__', 'constructor', 'toString'])
    test(`that is unknown (${plan}) is told, and the default holds`, () => {
      const { plans, unknown } = rulesOf()
      assert.equal(plans.of(withPlan(plan)).name, 'free')
      assert.deepEqual(unknown, [`acme ${plan}`])
    })
})

describe('rules', () => {
  test('of other routes are left out', () => {
    const names = (route: string): string[] => {
      return askedOf(rulesOf(route), withPlan('pro'), 'requests')
    }
    assert.deepEqual(names('x'), ['a', 'only'])
    assert.deepEqual(names('y'), ['a'])
  })

  test('are bound to whom they are about, once for each token', () => {
    const all = rulesOf()
    const { rules, made } = all
    const identity = withPlan('mixed')
    // One client, as connections have: what is bound is kept with it
    const one = client()
    rules.bind(identity, one)
    rules.bind(identity, one)
    assert.deepEqual(made, [
      'user|user:u1',
      'team|claim:app_metadata.team=red',
      'company|company:acme',
      'sockets|company:acme',
      'ip|ip:203.0.113.7',
    ])
    rules.bind(identity, client('203.0.113.8'))
    assert.deepEqual(made.slice(5), ['ip|ip:203.0.113.8'])
    assert.deepEqual(askedOf(all, identity, 'requests'), ['user', 'team', 'company', 'ip'])
    assert.deepEqual(askedOf(all, identity, 'handshakes'), ['user', 'team', 'company', 'sockets', 'ip'])
  })

  test('fall to the company, the user and the address in turn, for want of what they are about', () => {
    const { rules, made } = rulesOf()
    rules.bind(identityOf({ companyId: null, claims: { app_metadata: { plan: 'mixed' } } }), client())
    assert.deepEqual(made, [
      'user|user:u1',
      'team|user:u1',
      'company|user:u1',
      'sockets|user:u1',
      'ip|ip:203.0.113.7',
    ])
    const nobody = rulesOf()
    nobody.rules.bind(null, client())
    assert.deepEqual(nobody.made, ['a|ip:203.0.113.7'])
  })

  test('carry the weight of the plan', () => {
    assert.equal(rulesOf().rules.bind(withPlan('pro'), client()).weight, 4)
    assert.equal(rulesOf().rules.bind(null, client()).weight, 1)
  })
})
