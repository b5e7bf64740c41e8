import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadConfig } from './load.ts'
import { parseOptions } from './parse.ts'
import { dotted } from './problem.ts'
import type { GatewayOptions } from './schema.ts'

const ROUTES = [{ name: 'api', path: '/api', respond: {} }]

/** Each problem as `place message`. */
function problems(limits: object, routes: object[] = ROUTES): string[] {
  const { found } = parseOptions({ identity: { secret: 'x'.repeat(32) }, limits, routes })
  return found.map(({ path, message }) => `${dotted(path)} ${message}`)
}

const withRule = (rule: object): string[] =>
  problems({ plans: { free: { rules: [{ name: 'r', ...rule }] } } })
const RULE = 'limits.plans.free.rules[0]'

test('a sound one of every kind', () => {
  const rules = [
    { name: 'burst', limit: 50, window: '1s' },
    { name: 'sustained', limit: 1000, window: '1m', burst: 100 },
    { name: 'month', limit: '10GiB', window: 'month', unit: 'bytesOut' },
    { name: 'day', limit: 1000, window: 'day', unit: 'cost', by: 'user', routes: ['api'] },
    { name: 'parallel', concurrent: 20, by: 'claim:app_metadata.team', dryRun: true },
    { name: 'sockets', sockets: 5, by: 'ip' },
  ]
  const limits = {
    timeZone: 'Europe/Madrid',
    companies: { acme: 'free' },
    defaultPlan: 'free',
    plans: { free: { weight: 2, rules } },
    clients: [{ name: 'client', limit: 100, window: '1s', burst: 20 }],
  }
  assert.deepEqual(problems(limits), [])
})

describe('is told with its place', () => {
  const cases: [string, () => string[], RegExp][] = [
    [
      'a burst under one request',
      () => withRule({ limit: 10, window: 1, burst: 0.5 }),
      /burst must be at least 1, or no request/,
    ],
    [
      'a burst beyond the limit',
      () => withRule({ limit: 10, window: 1, burst: 20 }),
      /burst is more than the limit of 10/,
    ],
    [
      'a burst in parts',
      () => withRule({ limit: 10, window: 1, burst: 2.5 }),
      /burst must be a whole number/,
    ],
    [
      'a quota with a burst',
      () => withRule({ limit: 10, window: 'day', burst: 2 }),
      /burst belongs to a rate/,
    ],
    ['nothing limited', () => withRule({}), /\[0\] limits nothing: give one of limit/],
    ['two limits', () => withRule({ limit: 1, window: 1, sockets: 1 }), /\[0\] has more than one limit/],
    ['a limit without a window', () => withRule({ limit: 1 }), /\[0\] has a limit without a window/],
    ['a window of no time', () => withRule({ limit: 1, window: 0 }), /window must be longer than 0/],
    ['a limit of nothing', () => withRule({ limit: 0, window: 1 }), /limit must be at least 1/],
    ['less than one', () => withRule({ limit: 0.5, window: 1 }), /limit must be a whole number/],
    ['a part of one', () => withRule({ limit: '1.5', window: 'day' }), /limit must be a whole number/],
    ['more than a field can carry', () => withRule({ limit: 1e15, window: 'day' }), /limit must be at most/],
    ['more at a time than a field can carry', () => withRule({ sockets: 1e15 }), /sockets must be at most/],
    ['an unknown window', () => withRule({ limit: 1, window: 'week' }), /window .*duration/],
    ['slots with a window', () => withRule({ concurrent: 1, window: 1 }), /window belongs to a limit/],
    ['slots with a unit', () => withRule({ sockets: 1, unit: 'cost' }), /unit belongs to a limit/],
    [
      'an unknown route',
      () => withRule({ sockets: 1, routes: ['nope'] }),
      /routes\[0\] names no route: there are api/,
    ],
    ['an unknown subject', () => withRule({ sockets: 1, by: 'planet' }), /by must be/],
    [
      'a name that no field can carry',
      () => withRule({ sockets: 1, name: 'Too Big' }),
      /name is no rule name/,
    ],
    [
      'a misspelled key',
      () => withRule({ sockets: 1, dryrun: true }),
      /dryrun is not a known key: did you mean dryRun/,
    ],
    [
      'an unknown default plan',
      () => problems({ defaultPlan: 'gold', plans: { free: {} } }),
      /^limits.defaultPlan "gold" is no plan: there are free/,
    ],
    [
      'an unknown plan of a company',
      () => problems({ companies: { acme: 'gold' } }),
      /^limits.companies.acme "gold" is no plan: none is defined/,
    ],
    [
      'a company without a name',
      () => problems({ companies: { '': 'free' }, plans: { free: {} } }),
      /^limits.companies. stands for nobody: write a name/,
    ],
    [
      'an unknown time zone',
      () => problems({ timeZone: 'Europe/Atlantis' }),
      /^limits.timeZone "Europe\/Atlantis" is no time zone/,
    ],
    [
      'an offset as a time zone',
      () => problems({ timeZone: '+02:00' }),
      /^limits.timeZone "\+02:00" is no time zone/,
    ],
    [
      'two rules of one name',
      () =>
        problems({
          plans: {
            free: {
              rules: [
                { name: 'a', sockets: 1 },
                { name: 'a', concurrent: 1 },
              ],
            },
          },
        }),
      /rules\[1\].name a is the name of another rule/,
    ],
    ['a weight of nothing', () => problems({ plans: { free: { weight: 0 } } }), /^limits.plans.free.weight/],
    [
      'a weight so small that turns could not be told apart any more',
      () => problems({ plans: { free: { weight: 1e-9 } } }),
      /^limits.plans.free.weight/,
    ],
    [
      'a cost so small that no quota would count it',
      () => problems({}, [{ path: '/api', respond: {}, cost: { weight: 0.0004 } }]),
      /^routes\[0\].cost/,
    ],
    [
      'a client rule of the name of a rule of a plan, beside which it stands in answers',
      () =>
        problems({
          plans: { free: { rules: [{ name: 'burst', concurrent: 1 }] } },
          clients: [{ name: 'burst', limit: 5 }],
        }),
      /^limits.clients\[0\].name burst is the name of a rule of plan free/,
    ],
    [
      'a client rule without a burst worth the name',
      () => problems({ clients: [{ name: 'c', limit: 5, burst: 0 }] }),
      /^limits.clients\[0\].burst must be at least 1/,
    ],
    [
      'a route that costs more than is ever granted',
      () =>
        problems({ plans: { free: { rules: [{ name: 'r', limit: 5, window: 1, unit: 'cost' }] } } }, [
          { path: '/api', respond: {}, cost: 6 },
        ]),
      /^routes\[0\].cost is more than rule r of plan free ever grants at once \(5\)/,
    ],
  ]
  for (const [what, found, expected] of cases) {
    test(what, () => {
      const all = found()
      assert.equal(all.length, 1, all.join('; '))
      assert.match(all[0]!, expected)
      if (all[0]!.includes('rules[0]')) assert.ok(all[0]!.startsWith(RULE))
    })
  }
})

test('quotas that nobody keeps are warned of', async () => {
  const warnings = async (more: object) => {
    const options = {
      limits: { plans: { free: { rules: [{ name: 'q', limit: 1, window: 'day' }] } } },
      ...more,
    }
    return (await loadConfig({ options: options as GatewayOptions, env: {}, dotenv: false })).warnings
  }
  assert.match(String(await warnings({ routes: [] })), /quotas of days and months begin anew with each start/)
  assert.deepEqual(await warnings({ routes: [], redis: { url: 'redis://cache' } }), [])
})

test('all at once', () => {
  const limits = {
    timeZone: 'Nowhere',
    defaultPlan: 'gold',
    plans: { free: { rules: [{ name: 'a', limit: 10, window: 1, burst: 0 }, { name: 'b' }] } },
  }
  assert.equal(problems(limits).length, 4)
})
