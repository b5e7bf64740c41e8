import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import fc from 'fast-check'
import { type Loaded, loadConfig } from './load.ts'
import type { GatewayConfig } from './schema.ts'

const SECRET = 'a-shared-secret-of-more-than-32-bytes'
const directory = mkdtempSync(join(tmpdir(), 'gateway-load-'))
after(() => rmSync(directory, { recursive: true }))

let files = 0

/** Loads a config of this text (YAML, of which JSON is a part) with this environment and nothing else. */
function load(
  written: unknown,
  env: Record<string, string> = { GATEWAY_JWT_SECRET: SECRET },
): Promise<Loaded> {
  const file = join(directory, `${++files}.yaml`)
  writeFileSync(file, typeof written === 'string' ? written : JSON.stringify(written))
  return loadConfig({ file, env, directory, dotenv: false })
}

async function configOf(...args: Parameters<typeof load>): Promise<GatewayConfig> {
  const { config, problems } = await load(...args)
  assert.deepEqual(problems, [])
  return config!
}

async function problemsOf(...args: Parameters<typeof load>): Promise<string[]> {
  const { config, problems } = await load(...args)
  assert.ok(config === null, 'accepted')
  return problems.map(
    ({ place, message }) => `${place.replace(directory, '').replace(/^\/\d+\.yaml/, '')} ${message}`,
  )
}

const originsOf = ({ cors }: GatewayConfig): readonly string[] => (cors === false ? [] : cors.origins)

const ROUTE = { path: '/a', upstream: 'http://127.0.0.1:8000' }

describe('a configuration', () => {
  test('of the environment alone serves the routes of the first gateway', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, GATEWAY_AUTH_SERVICE_URL: 'http://auth:9999' }
    const { config } = await loadConfig({ env, directory, dotenv: false })
    assert.deepEqual(
      config!.routes.map(({ path, auth, stripPrefix }) => [path, auth, stripPrefix]),
      [
        ['/api/v1/ingest/*', 'required', false],
        ['/api/v1/query/*', 'required', false],
        ['/api/v1/auth/*', 'none', false],
      ],
    )
    assert.equal(config!.server.port, 8080)
    assert.equal(config!.admin.host, '127.0.0.1')
  })

  for (const [text, admin] of [
    [undefined, false],
    ['', false],
    ['false', false],
    ['admin', false],
    ['true', true],
    ['1', true],
  ] as const) {
    test(`of the environment with GATEWAY_AUTH_ALLOW_ADMIN=${text} ${admin ? 'opens' : 'closes'} the admin paths of the auth service`, async () => {
      for (const auth of ['http://auth:9999', undefined]) {
        const env = { GATEWAY_AUTH_SERVICE_URL: auth, GATEWAY_AUTH_ALLOW_ADMIN: text }
        const { config } = await loadConfig({
          env: { ...env, GATEWAY_JWT_SECRET: SECRET },
          directory,
          dotenv: false,
        })
        assert.deepEqual(config!.routes.find(({ name }) => name === 'auth')!.authService, { admin })
      }
    })
  }

  test('is frozen to its depth', async () => {
    const config = await configOf({ routes: [ROUTE], upstreams: { a: { url: 'http://h' } } })
    const isFrozen = (value: unknown): boolean =>
      typeof value !== 'object' ||
      value === null ||
      value instanceof RegExp ||
      (Object.isFrozen(value) && Object.values(value).every(isFrozen))
    assert.equal(isFrozen(config), true)
    assert.throws(() => Object.assign(config.routes[0]!, { auth: 'none' }), TypeError)
  })

  test('has settings of the environment over those of the file', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, PORT: '1234', GATEWAY_HTTP_CLIENT_TIMEOUT: '5' }
    const config = await configOf(
      { server: { port: 1, host: '::1' }, client: { timeouts: { connect: 3 } }, routes: [] },
      env,
    )
    assert.equal(config.server.port, 1234)
    assert.equal(config.server.host, '::1')
    assert.deepEqual(config.client.timeouts, { connect: 3, firstByte: 5, idle: 5 })
  })

  test('allows the origins of both', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, GATEWAY_CORS_ORIGINS: 'https://b.example' }
    const config = await configOf({ cors: { origins: ['https://a.example'] }, routes: [] }, env)
    assert.deepEqual(originsOf(config), ['https://a.example', 'https://b.example'])
  })

  test('allows no default origin beside those that the file names', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, VERCEL_FRONTEND_URL: 'https://b.example' }
    const config = await configOf({ cors: { origins: ['https://a.example'] }, routes: [] }, env)
    assert.deepEqual(originsOf(config), ['https://a.example', 'https://b.example'])
  })

  test('keeps CORS off when the file turns it off', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, GATEWAY_CORS_ORIGINS: 'https://b.example' }
    assert.equal((await configOf({ cors: false, routes: [] }, env)).cors, false)
  })

  test('trusts the issuers and proxies of the environment in place of those of the file', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, GATEWAY_JWT_ISSUER: 'b', GATEWAY_TRUSTED_PROXIES: '10.0.0.1' }
    const written = { identity: { issuer: ['a'] }, server: { trustedProxies: ['192.0.2.0/24'] }, routes: [] }
    const config = await configOf(written, env)
    assert.deepEqual(config.identity.issuer, ['b'])
    assert.deepEqual(
      config.server.trustedProxies.map(({ address }) => address),
      ['10.0.0.1'],
    )
  })

  test('has variables filled in, with defaults, and $$ for one $', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, NAME: 'Nyro', EMPTY: '' }
    const name = async (text: string): Promise<string> =>
      (await configOf({ name: text, routes: [] }, env)).name
    assert.equal(await name(`x-\${NAME}-\${NAME}`), 'x-Nyro-Nyro')
    assert.equal(await name(`\${ABSENT:-d}\${EMPTY:-e}\${NAME:-f}`), 'deNyro')
    assert.equal(await name(`$\${NAME} $5 $$`), `\${NAME} $5 $`)
  })

  test('misses variables that are not set, those that every object has among them', async () => {
    for (const name of ['ABSENT', 'constructor', 'toString', '__proto__']) {
      assert.match(
        (await problemsOf({ name: `\${${name}}`, routes: [] })).join(),
        /is not set in the environment/,
        name,
      )
    }
  })

  test('is read from .env of the directory, under the environment', async () => {
    const own = mkdtempSync(join(directory, 'dotenv-'))
    writeFileSync(join(own, '.env'), `GATEWAY_JWT_SECRET="${SECRET}"\nPORT=1111\n# x\nGATEWAY_HOST=::1\n`)
    const { config } = await loadConfig({ env: { PORT: '2222' }, directory: own })
    assert.deepEqual(
      [config?.server.port, config?.server.host, config?.identity.secret],
      [2222, '::1', SECRET],
    )
  })
})

describe('a faulty configuration', () => {
  test('has all its problems told at once, each with its place', async () => {
    const written = [
      'server: { port: 99999 }',
      'idenity: {}',
      'routes:',
      '  - path: nowhere',
      '    upstream: missing',
      '  - path: /b',
      '    auht: none',
    ].join('\n')
    const problems = await problemsOf(written, { GATEWAY_JWT_SECRET: 'short', GATEWAY_LOG_LEVEL: 'loud' })
    const expected = [
      /^:1:17: server\.port is no port/,
      /^:2:\d+: idenity is not a known key: did you mean identity\?/,
      /^:7:\d+: routes\[1\]\.auht is not a known key: did you mean auth\?/,
      /^GATEWAY_JWT_SECRET is shorter than 32 bytes/,
      /^GATEWAY_LOG_LEVEL must be one of "debug"/,
    ]
    for (const pattern of expected)
      assert.ok(
        problems.some(text => pattern.test(text)),
        `${pattern} in ${problems.join('\n')}`,
      )
  })

  test('has the faults of one route told beside those of another, of whatever kind they are', async () => {
    const routes = [
      { path: 'nowhere', upstream: 'missing' },
      { ...ROUTE, auht: 'none' },
    ]
    const problems = (await problemsOf({ routes })).join('\n')
    assert.match(problems, /routes\[1\]\.auht is not a known key/)
    assert.match(problems, /routes\[0\]\.path must begin with \//)
    assert.match(problems, /routes\[0\]\.upstream names no upstream/)
  })

  test('is blamed on the file for origins of the file, on the variable for those of the variable', async () => {
    const env = { GATEWAY_JWT_SECRET: SECRET, GATEWAY_CORS_ORIGINS: 'https://ok.example' }
    assert.match(
      (await problemsOf({ cors: { origins: ['bad'] }, routes: [] }, env)).join(),
      /^:\d+:\d+: cors\.origins\[0\]/,
    )
    const faulty = { GATEWAY_JWT_SECRET: SECRET, GATEWAY_CORS_ORIGINS: 'bad' }
    const problems = await problemsOf({ cors: { origins: ['https://ok.example'] }, routes: [] }, faulty)
    assert.match(problems.join(), /^GATEWAY_CORS_ORIGINS is no origin/)
  })

  test('has the faults of one route told beside each other, of whatever kind they are', async () => {
    const told = (
      await problemsOf({
        upstreams: { a: { url: `\${NOT_SET_ANYWHERE}` } },
        routes: [
          { path: 'b', upstream: 'nowhere', foo: 1, claimHeaders: { 'bad name': 'x', 'X-User-ID': 'sub' } },
        ],
      })
    ).join('\n')
    for (const part of [
      'foo is not a known key',
      'path must begin with /',
      'names no upstream',
      'bad name',
      'X-User-ID',
    ]) {
      assert.ok(told.includes(part), `${part} in ${told}`)
    }
    assert.match(told, /:\d+:\d+: upstreams\.a\.url \$\{NOT_SET_ANYWHERE\} is not set/)
    assert.doesNotMatch(told, /is no http/)
  })

  test('says in words what must stand there', async () => {
    const words: [unknown, RegExp][] = [
      [{ routes: [{ ...ROUTE, rewrite: 'b' }] }, /routes\[0\]\.rewrite must begin with \/(?:$|\s)/],
      [
        { routes: [{ ...ROUTE, stripPrefix: 'b' }] },
        /routes\[0\]\.stripPrefix .*(?:true or false|begin with \/)/,
      ],
      [
        { routes: [{ ...ROUTE, auth: 'maybe' }] },
        /routes\[0\]\.auth must be one of "required", "optional", "none"/,
      ],
      [{ routes: [{ ...ROUTE, methods: ['BREW'] }] }, /routes\[0\]\.methods\[0\] must be one of "GET"/],
      [{ routes: [{ ...ROUTE, methods: [] }] }, /routes\[0\]\.methods must be at least 1/],
      [{ routes: [{ upstream: 'http://h' }] }, /routes\[0\]\.path is missing/],
      [{ upstreams: { a: { url: 'h' } }, routes: [] }, /upstreams\.a\.url is no http\(s\) URL/],
      [
        { upstreams: { a: { url: 'http://h', maxConnections: 1.5 } }, routes: [] },
        /maxConnections must be a whole number/,
      ],
      [{ routes: [{ ...ROUTE, headers: { 'a b': 'x' } }] }, /is no header name/],
      [{ routes: [{ ...ROUTE, claimHeaders: { 'X-A': 'a..b' } }] }, /is no claim path/],
      [{ routes: {} }, /routes must be an array/],
      [7, /must hold an object/],
      [[], /must hold an object/],
      ['a: b: c', /Nested mappings/],
    ]
    for (const [written, pattern] of words) assert.match((await problemsOf(written)).join('\n'), pattern)
  })

  test('may not exist, or have an unknown ending', async () => {
    for (const [file, pattern] of [
      ['absent.yaml', /does not exist/],
      ['gateway.toml', /has the ending \.toml/],
    ] as const) {
      const { config, problems } = await loadConfig({
        file: join(directory, file),
        env: {},
        directory,
        dotenv: false,
      })
      assert.equal(config, null)
      assert.match(problems[0]!.message, pattern)
    }
  })

  test('may refer to itself', async () => {
    assert.ok((await problemsOf('routes: &a [*a]')).length > 0)
    assert.ok((await problemsOf('name: &a { b: *a }')).length > 0)
  })

  test('does not lose a part of itself to a name that every object has', async () => {
    for (const name of ['__proto__', 'constructor', 'hasOwnProperty']) {
      assert.ok((await problemsOf(`{"${name}": {"url": 7}, "routes": []}`)).length > 0, name)
      assert.ok(
        (await problemsOf(`{"upstreams": {"${name}": {"url": 7}}, "routes": []}`)).length > 0,
        `upstreams.${name}`,
      )
    }
  })
})

describe('a secret', () => {
  const hidden = 'SuperSecretValue0123456789'
  const texts: [string, unknown, Record<string, string>?][] = [
    ['too short', { identity: { secret: hidden }, routes: [] }, {}],
    ['too short, in a variable', { routes: [] }, { GATEWAY_JWT_SECRET: hidden }],
    [
      'in the wrong place',
      { secret: hidden, identity: { secrets: hidden, jwks: hidden, algorithm: hidden }, routes: [hidden] },
      {},
    ],
    ['of another type', { identity: { secret: [hidden] }, routes: [] }, {}],
    ['in a URL', { upstreams: { a: { url: `http://u:${hidden}@h` } }, routes: [] }],
    ['in the URL of a route', { routes: [{ path: '/a', upstream: `http://u:${hidden}@h` }] }],
    ['in the URL of keys', { routes: [] }, { GATEWAY_JWKS_URL: `https://u:${hidden}@h/jwks` }],
    [
      'in a variable for something else',
      { log: { level: `\${HIDDEN}` }, server: { port: `\${HIDDEN}` }, routes: [] },
      { HIDDEN: hidden },
    ],
    ['that YAML takes for an alias', `identity:\n  secret: *${hidden}\n`],
    ['that YAML takes for something reserved', `identity:\n  secret: @${hidden}\n`],
    ['that YAML takes for a mapping', `identity:\n  secret: a: ${hidden}\n`],
    ['in an open quote', `identity:\n  secret: "${hidden}\n`],
    ['on a line of its own', `identity:\n  secret: x\n${hidden}\n`],
    ['behind a bracket', `identity: { secret: ]${hidden} }`],
    ['twice', `identity:\n  secret: ${hidden}\n  secret: ${hidden}\n`],
  ]
  for (const [what, written, env] of texts) {
    test(`is not in what is told of it: ${what}`, async () => {
      const { problems, config } = await load(written, env)
      assert.ok(config === null, 'accepted')
      assert.ok(problems.length > 0)
      assert.ok(!JSON.stringify(problems).includes(hidden), JSON.stringify(problems))
    })
  }
})

describe('any configuration at all', () => {
  const scalar = fc.oneof(
    fc.constantFrom('', '/a', '/a/*', 'http://h', 'none', true, 0, -1, 1.5, null),
    fc.string({ maxLength: 5 }),
  )
  const loose = fc.letrec(tie => ({
    value: fc.oneof({ depthSize: 'small', withCrossShrink: true }, scalar, tie('list'), tie('object')),
    list: fc.array(tie('value'), { maxLength: 3 }),
    object: fc.dictionary(
      fc.constantFrom(
        'a',
        'url',
        'path',
        'name',
        'upstream',
        'origins',
        'claims',
        'secret',
        '__proto__',
        'constructor',
        'jwks',
        'port',
      ),
      tie('value'),
      { maxKeys: 4 },
    ),
  })).value
  const route = fc.record(
    {
      path: fc.oneof(fc.constantFrom('/a', '/a/*', '/{x}'), loose),
      ...Object.fromEntries(
        [
          'host',
          'methods',
          'headers',
          'upstream',
          'respond',
          'stripPrefix',
          'rewrite',
          'auth',
          'require',
          'claimHeaders',
          'cors',
          'timeouts',
          'policies',
        ].map(key => [key, loose]),
      ),
    },
    { requiredKeys: [] },
  )
  const config = fc.oneof(
    loose,
    fc.record(
      {
        ...Object.fromEntries(
          [
            'name',
            'server',
            'admin',
            'log',
            'identity',
            'cors',
            'client',
            'bodyLimit',
            'upstreams',
            'policies',
            '__proto__',
          ].map(key => [key, loose]),
        ),
        routes: fc.oneof(fc.array(route, { maxLength: 3 }), loose),
      },
      { requiredKeys: [] },
    ),
  )

  test('is either taken or has its problems told in words; nothing is thrown', async () => {
    await fc.assert(
      fc.asyncProperty(config, async written => {
        const { config, problems } = await load(JSON.stringify(written))
        assert.equal(config === null, problems.length > 0)
        for (const { place, message } of problems) {
          assert.ok(place.length > 0)
          assert.match(
            message,
            /^(?:is|are|has|must|needs|names|goes|cannot|stands|uses|fits|asks|\$\{|does) ?/,
            message,
          )
          assert.doesNotMatch(message, /undefined|\[object|NaN|Invalid|starts_with|RegExp/)
        }
      }),
      { numRuns: 250 },
    )
  })
})
