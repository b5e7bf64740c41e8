import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { checkConfig } from './check.ts'
import { dotted } from './problem.ts'
import { type GatewayOptions, gatewaySchema } from './schema.ts'

const SECRET = 'a-shared-secret-of-more-than-32-bytes'
const directory = mkdtempSync(join(tmpdir(), 'gateway-check-'))
after(() => rmSync(directory, { recursive: true }))

/** The problems of a config whose form is right, each as `place message`. */
function check(options: GatewayOptions): string[] {
  const config = gatewaySchema.parse({ identity: { secret: SECRET }, ...options })
  return checkConfig(config).map(({ path, message }) => `${dotted(path)} ${message}`)
}

type RouteOptions = NonNullable<GatewayOptions['routes']>[number]

const UPSTREAM = 'http://127.0.0.1:8000'
const withRoutes = (...routes: RouteOptions[]): string[] =>
  check({ routes: routes.map(route => ({ upstream: UPSTREAM, ...route })) })

describe('a sound configuration', () => {
  const sound: Record<string, GatewayOptions> = {
    'no routes': {},
    'every kind of target': {
      upstreams: { a: { url: UPSTREAM } },
      routes: [
        { path: '/a', upstream: 'a' },
        { path: '/b', upstream: UPSTREAM },
        { path: '/c', upstream: { url: UPSTREAM } },
        { path: '/d', respond: { status: 204 } },
      ],
    },
    'a prefix that is stripped': {
      routes: [
        { path: '/a/*', upstream: UPSTREAM, stripPrefix: true },
        { path: '/b/c/*', upstream: UPSTREAM, stripPrefix: '/b' },
        { path: '/d/{id}/*', upstream: UPSTREAM, stripPrefix: '/d/{id}' },
      ],
    },
    'an auth service whose administration is closed, or open': {
      routes: [
        { path: '/auth/*', upstream: UPSTREAM, authService: true },
        { path: '/realm/{admin}/*', upstream: UPSTREAM, authService: true, rewrite: '/{admin}/*' },
        { path: '/admin/*', upstream: UPSTREAM, authService: { admin: true } },
        { path: '/invite/*', upstream: UPSTREAM },
      ],
    },
    'a rewritten path': { routes: [{ path: '/a/{id}/*', upstream: UPSTREAM, rewrite: '/x/{id}/*' }] },
    'routes that differ in host, method or headers': {
      routes: [
        { path: '/a', upstream: UPSTREAM, methods: ['GET'] },
        { path: '/a', upstream: UPSTREAM, methods: ['POST'] },
        { path: '/a', upstream: UPSTREAM, methods: ['GET'], host: 'a.example' },
        { path: '/a', upstream: UPSTREAM, methods: ['GET'], headers: { 'x-a': '1' } },
        { path: '/a', upstream: UPSTREAM, methods: ['GET'], headers: { 'x-a': '2' } },
        { path: '/a', upstream: UPSTREAM },
      ],
    },
    'keys without a secret': {
      identity: { jwks: { url: 'https://a.example/jwks' } },
      routes: [{ path: '/', upstream: UPSTREAM }],
    },
    'no key where no route asks for a token': {
      identity: {},
      routes: [{ path: '/', upstream: UPSTREAM, auth: 'none' }],
    },
    'a secret of 32 bytes': { identity: { secret: 'x'.repeat(32) } },
    'a secret of 32 bytes in fewer characters': { identity: { secret: 'é'.repeat(16) } },
  }
  for (const [what, options] of Object.entries(sound)) {
    test(`has no problems: ${what}`, () => assert.deepEqual(check(options), []))
  }
})

describe('the keys of tokens', () => {
  const cases: [string, GatewayOptions, RegExp][] = [
    [
      'a secret of 31 bytes',
      { identity: { secret: 'x'.repeat(31) } },
      /^identity\.secret is shorter than 32 bytes/,
    ],
    ['an empty secret', { identity: { secret: '' } }, /^identity\.secret is empty/],
    [
      'the published secret',
      { identity: { secret: 'YOUR_DEFAULT_JWT_SECRET_KEY_CHANGE_ME_IN_ENV_OR_SECRET' } },
      /^identity\.secret is a published placeholder/,
    ],
    ['no key at all', { identity: {}, routes: [{ path: '/', upstream: UPSTREAM }] }, /^identity has no key/],
    [
      'no key for an optional token',
      { identity: {}, routes: [{ path: '/', upstream: UPSTREAM, auth: 'optional' }] },
      /^identity has no key/,
    ],
    [
      'a secret for signatures',
      { identity: { secret: SECRET, algorithm: 'ES256' } },
      /^identity\.algorithm ES256 has no shared secret/,
    ],
  ]
  for (const [what, options, pattern] of cases) {
    test(`are refused: ${what}`, () => assert.match(check(options).join('\n'), pattern))
  }
})

describe('a route', () => {
  const faults: [string, RouteOptions, RegExp][] = [
    ['a path without a slash', { path: 'a' }, /^routes\[0\]\.path must begin with \//],
    ['a host with a port', { path: '/a', host: 'h:80' }, /^routes\[0\]\.host is no host/],
    [
      'an upstream that is not there',
      { path: '/a', upstream: 'b' },
      /^routes\[0\]\.upstream names no upstream/,
    ],
    [
      'an upstream named as every object has it',
      { path: '/a', upstream: 'constructor' },
      /^routes\[0\]\.upstream names no upstream/,
    ],
    [
      'a URL with a query',
      { path: '/a', upstream: 'http://h?x=1' },
      /^routes\[0\]\.upstream must not have a query/,
    ],
    ['a URL with credentials', { path: '/a', upstream: 'http://user:password@h' }, /^routes\[0\]\.upstream /],
    ['two targets', { path: '/a', respond: {} }, /^routes\[0\] has both/],
    [
      'a prefix to strip without /*',
      { path: '/a', stripPrefix: true },
      /^routes\[0\]\.stripPrefix needs a path/,
    ],
    [
      'a prefix that is none',
      { path: '/a/b/*', stripPrefix: '/b' },
      /^routes\[0\]\.stripPrefix is no prefix/,
    ],
    [
      'half a segment as a prefix',
      { path: '/api/*', stripPrefix: '/ap' },
      /^routes\[0\]\.stripPrefix is no prefix/,
    ],
    ['the wildcard in a prefix', { path: '/a/*', stripPrefix: '/a/*' }, /^routes\[0\]\.stripPrefix /],
    [
      'strip and rewrite',
      { path: '/a/*', stripPrefix: true, rewrite: '/b' },
      /^routes\[0\]\.rewrite stands beside/,
    ],
    [
      'an admin path of an auth service that closes it',
      { path: '/auth/admin/*', authService: true },
      /^routes\[0\]\.path has a segment that authService closes/,
    ],
    [
      'a rewrite to such a path',
      { path: '/auth/*', authService: { admin: false }, rewrite: '/Invite/*' },
      /^routes\[0\]\.rewrite has a segment that authService closes/,
    ],
    [
      'a rewrite of what is not in the path',
      { path: '/a/{b}', rewrite: '/{c}' },
      /^routes\[0\]\.rewrite uses \{c\}/,
    ],
    [
      'a rewrite of a rest that is not there',
      { path: '/a', rewrite: '/b/*' },
      /^routes\[0\]\.rewrite uses \*/,
    ],
    ['a rewrite with a query', { path: '/a', rewrite: '/b?c' }, /^routes\[0\]\.rewrite must be a plain path/],
    [
      'a rewrite with a line break',
      { path: '/a', rewrite: '/b\r\nX: y' },
      /^routes\[0\]\.rewrite must be a plain path/,
    ],
    [
      'roles without a token',
      { path: '/a', auth: 'none', require: { roles: ['admin'] } },
      /^routes\[0\]\.require asks for claims/,
    ],
    [
      'claims of an optional token',
      { path: '/a', auth: 'optional', require: { claims: { a: 1 } } },
      /^routes\[0\]\.require asks for claims/,
    ],
    [
      'claim headers without a token',
      { path: '/a', auth: 'none', claimHeaders: { 'X-A': 'a' } },
      /^routes\[0\]\.claimHeaders needs a token/,
    ],
    [
      'tickets without a token',
      { path: '/a', auth: 'none', tickets: true },
      /^routes\[0\]\.tickets stand for/,
    ],
    [
      'tokens in subprotocols that nobody looks at',
      { path: '/a', auth: 'none', websocket: { tokenInSubprotocol: true } },
      /^routes\[0\]\.websocket\.tokenInSubprotocol is for tokens/,
    ],
    [
      'a CA that is not there',
      { path: '/a', upstream: { url: 'https://h', ca: join(directory, 'absent') } },
      /^routes\[0\]\.upstream\.ca cannot be read \(ENOENT\)/,
    ],
  ]
  for (const [what, route, pattern] of faults) {
    test(`is refused with ${what}`, () => assert.match(withRoutes(route).join('\n'), pattern))
  }

  test('is refused without a target', () => {
    assert.match(check({ routes: [{ path: '/a' }] }).join('\n'), /^routes\[0\] goes nowhere/)
  })

  test('is refused with claim headers that the gateway writes itself, however spelled', () => {
    const names = [
      'Host',
      'content-length',
      'Transfer_Encoding',
      'X-Company-ID',
      'x_user_id',
      'X.User.Email',
      'X-Forwarded-For',
      'Forwarded',
      'Authorization',
      'Connection',
      'TE',
      'X-Request-ID',
      'Cookie',
      'Via',
    ]
    for (const name of names) {
      assert.match(
        withRoutes({ path: '/a', claimHeaders: { [name]: 'a' } }).join('\n'),
        /is a header that the gateway writes itself/,
        name,
      )
    }
    assert.deepEqual(
      withRoutes({ path: '/a', claimHeaders: { 'X-Role': 'role', 'X-Plan': 'app_metadata.plan' } }),
      [],
    )
  })

  test('is refused with a fair queue whose bounds contradict, or that waits for no time', () => {
    const upstream = { url: UPSTREAM, fairQueue: { minConcurrency: 9, maxConcurrency: 8, queueTimeout: 0 } }
    for (const [found, place] of [
      [check({ upstreams: { a: upstream } }), 'upstreams.a.fairQueue'],
      [withRoutes({ path: '/a', upstream }), 'routes[0].upstream.fairQueue'],
    ] as const) {
      assert.deepEqual(found, [
        `${place}.minConcurrency is more than maxConcurrency, which is 8`,
        `${place}.queueTimeout must be longer than 0`,
      ])
    }
    assert.deepEqual(check({ upstreams: { a: { url: UPSTREAM, fairQueue: true } } }), [])
  })

  test('is refused with an upstream whose protocol does not fit its URL, wherever that stands', () => {
    const [h2, h2c] = [
      { url: 'http://h', protocol: 'h2' },
      { url: 'https://h', protocol: 'h2c' },
    ] as const
    assert.deepEqual(
      check({ upstreams: { a: { ...h2, protocol: 'h2c' }, b: { ...h2c, protocol: 'h2' } } }),
      [],
    )
    assert.match(check({ upstreams: { a: h2 } }).join(), /^upstreams\.a\.protocol is h2.*write https, or h2c/)
    assert.match(
      check({ upstreams: { a: h2c } }).join(),
      /^upstreams\.a\.protocol is h2c.*write http, or h2 /,
    )
    assert.match(withRoutes({ path: '/a', upstream: h2 }).join(), /^routes\[0\]\.upstream\.protocol is h2,/)
  })

  test('is refused with a CA file that holds no certificate', () => {
    const ca = join(directory, 'ca.pem')
    writeFileSync(ca, 'not a certificate')
    assert.match(
      check({ upstreams: { a: { url: 'https://h', ca } } }).join(),
      /^upstreams\.a\.ca has no certificate/,
    )
  })
})

test('the path of tickets is one path', () => {
  for (const path of ['/tickets/*', '/tickets/{id}', '/a//b', '/a?b'])
    assert.match(check({ tickets: { path } }).join('\n'), /^tickets\.path /, path)
  assert.deepEqual(check({ tickets: { path: '/v2/tickets' } }), [])
})

describe('a route that would never be chosen', () => {
  const pairs: [string, RouteOptions, RouteOptions][] = [
    ['the same path', { path: '/a' }, { path: '/a' }],
    ['a slash at the end', { path: '/a' }, { path: '/a/' }],
    ['another name for the parameter', { path: '/a/{b}' }, { path: '/a/{c}' }],
    ['the same host in other letters', { path: '/a', host: 'H.example' }, { path: '/a', host: 'h.example' }],
    [
      'the same headers in another order and case',
      { path: '/a', headers: { 'X-A': '1', 'x-b': true } },
      { path: '/a', headers: { 'X-B': true, 'x-a': '1' } },
    ],
    [
      'a method behind a list with it',
      { path: '/a', methods: ['GET', 'POST'] },
      { path: '/a', methods: ['POST'] },
    ],
    ['all methods twice', { path: '/a' }, { path: '/a' }],
    ['HEAD behind GET', { path: '/a', methods: ['GET'] }, { path: '/a', methods: ['HEAD'] }],
  ]
  for (const [what, first, second] of pairs) {
    test(`is told: ${what}`, () => {
      assert.match(withRoutes(first, second).join('\n'), /^routes\[1\] fits the same requests as routes\[0\]/)
    })
  }
})

describe('timeouts', () => {
  test('may not be 0, which would fail every request', () => {
    const problems = check({
      server: { headerTimeout: 0, bodyTimeout: 0 },
      client: { timeouts: { connect: 0, firstByte: 0, idle: 0 } },
      tickets: { lifetime: 0 },
      upstreams: { a: { url: UPSTREAM, timeouts: { firstByte: 0 } } },
      routes: [{ path: '/a', upstream: 'a', timeouts: { idle: 0 } }],
    }).join('\n')
    for (const place of [
      'server.headerTimeout',
      'server.bodyTimeout',
      'client.timeouts.connect',
      'client.timeouts.firstByte',
      'client.timeouts.idle',
      'tickets.lifetime',
      'upstreams.a.timeouts.firstByte',
      'routes[0].timeouts.idle',
    ]) {
      assert.ok(problems.includes(`${place} must be longer than 0`), `${place} in\n${problems}`)
    }
  })
})

describe('streams that cannot work', () => {
  const cases: [RouteOptions, RegExp][] = [
    [
      { path: '/a', eventStream: { heartbeat: 0 } },
      /routes\[0\]\.eventStream\.heartbeat must be longer than 0/,
    ],
    [{ path: '/a', websocket: { idleTimeout: 0 } }, /websocket\.idleTimeout must be longer than 0/],
    [{ path: '/a', websocket: { maxFrameSize: 0 } }, /websocket\.maxFrameSize must be at least 125 bytes/],
    [
      { path: '/a', upstream: { url: UPSTREAM, protocol: 'h2c' }, websocket: { tokenInSubprotocol: true } },
      /websocket has an upstream that speaks HTTP\/2/,
    ],
  ]
  for (const [route, expected] of cases) {
    test(`are refused: ${JSON.stringify(route)}`, () => assert.match(withRoutes(route).join('\n'), expected))
  }

  test('are refused: tickets for an answer of the gateway itself', () => {
    const problems = check({ routes: [{ path: '/a', respond: { status: 204 }, tickets: true }] })
    assert.match(problems.join('\n'), /tickets is for streams/)
  })
})
