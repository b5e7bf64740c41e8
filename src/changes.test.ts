import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Changes, changesBetween } from './changes.ts'
import { type GatewayOptions, gatewaySchema } from './config/schema.ts'
import { type Policy, reply } from './exchange.ts'
import { endpointsOf } from './upstream/endpoints.ts'

const configured = (options: GatewayOptions) => {
  const config = gatewaySchema.parse(options)
  return { config, endpoints: endpointsOf(config) }
}

const between = (before: GatewayOptions, after: GatewayOptions): Changes =>
  changesBetween(configured(before), configured(after))

const policy: Policy = (exchange, next) => next(exchange)
const base: GatewayOptions = {
  identity: { secret: 'x'.repeat(32) },
  upstreams: { service: { url: 'http://service' } },
  routes: [
    { path: '/guarded', upstream: 'service' },
    { path: '/free', auth: 'none', upstream: 'http://other' },
    { path: '/own', auth: 'none', upstream: { url: 'http://own' }, cors: false },
    { path: '/fixed', auth: 'none', respond: {}, policies: [policy] },
  ],
}

describe('routes that are the same', () => {
  test('are found wherever they stand', () => {
    const { successors, added, changed, removed, upstreams } = between(base, {
      ...base,
      routes: [{ path: '/new', respond: {} }, ...base.routes!.toReversed()],
    })
    assert.deepEqual(successors, [4, 3, 2, 1])
    assert.deepEqual({ added, changed, removed }, { added: ['/new'], changed: [], removed: [] })
    assert.deepEqual(upstreams, { kept: 3, closed: 0 })
  })

  const nothing: [string, GatewayOptions][] = [
    ['the name', { name: 'Another' }],
    [
      'the door',
      { server: { sendTimeout: 5, drainTimeout: 5 }, admin: { port: 1 }, log: { level: 'debug' } },
    ],
    ['the memory for tokens', { identity: { ...base.identity, cacheSize: 1_000 } }],
    ['an upstream that nobody uses', { upstreams: { ...base.upstreams, spare: { url: 'http://spare' } } }],
    ['how tickets are issued', { tickets: { lifetime: 5 } }],
  ]
  for (const [what, more] of nothing) {
    test(`are all of them when only ${what} changes`, () => {
      assert.deepEqual(between(base, { ...base, ...more }).successors, [0, 1, 2, 3])
    })
  }
})

describe('routes that change', () => {
  const cases: [string, GatewayOptions, string[]][] = [
    ['with the secret', { identity: { secret: 'y'.repeat(32) } }, ['/guarded']],
    ['with the audience', { identity: { ...base.identity, audience: 'b' } }, ['/guarded']],
    ['with the leeway', { identity: { ...base.identity, leeway: 5 } }, ['/guarded']],
    ['with the JWKS', { identity: { ...base.identity, jwks: { url: 'http://keys/' } } }, ['/guarded']],
    ['with the settings of their upstream', { upstreams: { service: { url: 'http://next' } } }, ['/guarded']],
    ['with the defaults of all upstreams', { client: { maxConnections: 9 } }, ['/guarded', '/free', '/own']],
    [
      'with the origins of all',
      { cors: { origins: ['https://a.example'] } },
      ['/guarded', '/free', '/fixed'],
    ],
    ['with the body limit of all', { bodyLimit: 5 }, ['/guarded', '/free', '/own', '/fixed']],
    ['with the policies of all', { policies: [policy] }, ['/guarded', '/free', '/own', '/fixed']],
  ]
  for (const [how, more, expected] of cases) {
    test(how, () => {
      const { changed, added, removed } = between(base, { ...base, ...more })
      assert.deepEqual({ changed, added, removed }, { changed: expected, added: [], removed: [] })
    })
  }

  test('with their own settings, or when a policy is another function of the same text', () => {
    const [guarded, free, own, fixed] = base.routes as [object, object, object, object]
    const again: Policy = (exchange, next) => next(exchange)
    const routes = [
      { ...guarded, require: { roles: ['admin'] } },
      { ...free, auth: 'required' },
      { ...own, upstream: { url: 'http://own', idleTimeout: 2 } },
      { ...fixed, policies: [again] },
    ] as unknown as NonNullable<GatewayOptions['routes']>
    const { successors, changed, upstreams } = between(base, { ...base, routes })
    assert.deepEqual(successors, [null, null, null, null])
    assert.deepEqual(changed, ['/guarded', '/free', '/own', '/fixed'])
    assert.deepEqual(upstreams, { kept: 2, closed: 1 })
  })
})

test('of routes of one name each is held against what is left', () => {
  const get = { path: '/x', methods: ['GET'], respond: {}, auth: 'none' } as const
  const post = { ...get, methods: ['POST'] } as const
  const policies = [(() => reply(200, [])) as Policy]
  const before = { routes: [get, post] } as unknown as GatewayOptions
  const after = { routes: [{ ...post, policies }, get] } as unknown as GatewayOptions
  const { successors, changed, added, removed } = between(before, after)
  assert.deepEqual(successors, [1, null])
  assert.deepEqual({ changed, added, removed }, { changed: ['/x'], added: [], removed: [] })
  assert.deepEqual(between(before, { routes: [get] } as unknown as GatewayOptions).removed, ['/x'])
})
