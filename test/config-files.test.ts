/** Config files: three formats, one schema; what is wrong is said whole and placed, and then nothing starts. */

import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { runCommand, startGateway } from './support/gateway.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

let directory: ConfigDirectory
let upstream: RecordingUpstream

before(async () => {
  directory = configDirectory()
  upstream = await recordingUpstream()
})

after(async () => {
  directory?.remove()
  await upstream?.close()
})

/** What the gateway, not this file, replaces by a variable. */
const variable = (name: string): string => `\${${name}}`

const FORMATS: Record<string, string> = {
  'gateway.config.json': JSON.stringify({
    name: `${variable('PROJECT')} of ${variable('PROJECT')}`,
    upstreams: { backend: { url: variable('BACKEND_URL') } },
    routes: [
      { path: '/hello', auth: 'none', respond: { body: 'hello' } },
      { path: '/backend/*', auth: 'none', upstream: 'backend', stripPrefix: true },
    ],
  }),
  'gateway.config.yaml': `# The same, for people
name: \${PROJECT} of \${PROJECT}
upstreams:
  backend: { url: "\${BACKEND_URL}" }
routes:
  - path: /hello
    auth: none
    respond: { body: hello }
  - path: /backend/*
    auth: none
    upstream: backend
    stripPrefix: true
`,
  'gateway.config.ts': `import { defineGateway, type GatewayOptions } from 'nyro-gateway'
const routes: GatewayOptions['routes'] = [
  { path: '/hello', auth: 'none', respond: { body: 'hello' } },
  { path: '/backend/*', auth: 'none', upstream: 'backend', stripPrefix: true },
]
export default defineGateway({
  name: '\${PROJECT} of \${PROJECT}',
  upstreams: { backend: { url: process.env.BACKEND_URL! } },
  routes,
})
`,
}

describe('every format', () => {
  for (const [name, content] of Object.entries(FORMATS)) {
    test(`${name} is found in the working directory, filled and served`, async () => {
      const cwd = path.join(directory.path, name.replaceAll('.', '-'))
      mkdirSync(cwd)
      directory.write(path.join(path.basename(cwd), name), content)
      const gateway = await startGateway({ cwd, env: { PROJECT: 'Acme', BACKEND_URL: upstream.url } })
      try {
        assert.equal((await send(`${gateway.url}/hello`)).text, 'hello')
        assert.deepEqual((await send(`${gateway.url}/`)).json(), { message: 'Acme of Acme is running!' })
        assert.equal((await send(`${gateway.url}/backend/a?b`)).status, 200)
        assert.equal(upstream.requests.at(-1)!.target, '/a?b')
      } finally {
        await gateway.stop()
      }
    })
  }

  test('is taken from --config, from -c and from GATEWAY_CONFIG', async () => {
    const file = directory.write('named.json', { routes: [{ path: '/named', respond: {} }] })
    for (const [args, env] of [
      [['routes', '--config', file], {}],
      [['routes', `--config=${file}`], {}],
      [['routes', '-c', file], {}],
      [['routes'], { GATEWAY_CONFIG: file }],
    ] as const) {
      const { code, stdout } = await runCommand(args, { env })
      assert.equal(code, 0)
      assert.match(stdout, /\/named/)
    }
  })

  test('gives way to the environment', async () => {
    const file = directory.write('named.json', { name: 'From the file' })
    const gateway = await startGateway({ args: ['-c', file], env: { GATEWAY_PROJECT_NAME: 'From outside' } })
    try {
      assert.equal((await send(`${gateway.url}/health`)).json().service, 'From outside')
    } finally {
      await gateway.stop()
    }
  })
})

let files = 0

/** What `check` says of a config that must be refused. */
async function problemsOf(
  name: string,
  content: unknown,
  env: Record<string, string | undefined> = {},
): Promise<string> {
  const place = `mistake-${files++}`
  mkdirSync(path.join(directory.path, place))
  const file = directory.write(path.join(place, name), content)
  const { code, stdout, stderr } = await runCommand(['check', '--config', file], { env })
  assert.equal(code, 78, stdout + stderr)
  assert.doesNotMatch(stderr, /^\s+at /m, 'no stack trace for a mistake in a config')
  return stdout + stderr
}

describe('mistakes', { concurrency: 3 }, () => {
  const good = { path: '/x', respond: {} }
  const cases: [string, unknown, RegExp][] = [
    ['an unknown key', { routs: [] }, /routs[\s\S]*routes/],
    [
      'an unknown key within a route',
      { routes: [{ ...good, stripPrefx: true }] },
      /stripPrefx[\s\S]*stripPrefix/,
    ],
    ['an unknown key of identity', { identity: { secert: 'x'.repeat(32) } }, /secert[\s\S]*secret/],
    ['an auth mode that is none', { routes: [{ ...good, auth: 'requierd' }] }, /auth/],
    ['a route without a path', { routes: [{ respond: {} }] }, /path/],
    ['a path without its slash', { routes: [{ ...good, path: 'x' }] }, /path/],
    ['a path with .. in it', { routes: [{ ...good, path: '/a/../b' }] }, /path/],
    ['a wildcard in the middle', { routes: [{ ...good, path: '/a/*/b' }] }, /path/],
    ['a parameter twice', { routes: [{ ...good, path: '/{a}/{a}' }] }, /path/],
    ['a route that leads nowhere', { routes: [{ path: '/x' }] }, /upstream|respond/],
    ['a route that leads two ways', { routes: [{ ...good, upstream: 'http://h' }] }, /upstream|respond/],
    [
      'an upstream that is not there',
      { routes: [{ path: '/x', upstream: 'nowhere' }] },
      /routes\[0\]\.upstream/,
    ],
    ['an upstream that is no HTTP', { routes: [{ path: '/x', upstream: 'ftp://h' }] }, /upstream/],
    ['the same route twice', { routes: [good, { ...good, auth: 'none' }] }, /\/x/],
    ['a method that is none', { routes: [{ ...good, methods: ['FETCH'] }] }, /methods/],
    ['a header name that is none', { routes: [{ ...good, claimHeaders: { 'X Y': 'role' } }] }, /X Y/],
    [
      'a header value that would break',
      { routes: [{ path: '/x', respond: { headers: { X: 'a\nb' } } }] },
      /X/,
    ],
    ['a claim path that is none', { identity: { tenantClaim: 'a..b' } }, /tenantClaim/],
    ['a negative timeout', { routes: [{ ...good, timeouts: { idle: -1 } }] }, /idle/],
    ['a body limit that is no size', { bodyLimit: 'much' }, /bodyLimit/],
    ['a limit of no connections', { client: { maxConnections: 0 } }, /maxConnections/],
    ['a wildcard origin with credentials', { cors: { origins: ['*'] } }, /cors/],
    ['an origin with a path', { cors: { origins: ['https://a.example/x'] } }, /origin/],
    ['a pattern over a whole top domain', { cors: { originPatterns: ['https://*'] } }, /originPatterns/],
    ['a trusted proxy that is no address', { server: { trustedProxies: ['10.0.0.0/40'] } }, /trustedProxies/],
    ['a function where none can be', { policies: ['log'] }, /policies/],
    [
      'a claim header of the framing',
      { routes: [{ ...good, claimHeaders: { 'Content-Length': 'n' } }] },
      /Content-Length/i,
    ],
    [
      'a claim header over the company',
      { routes: [{ ...good, claimHeaders: { 'X-Company-ID': 'user_metadata.c' } }] },
      /X-Company-ID/i,
    ],
    ['a list', [], /object|mapping|list/i],
    ['a text', '"routes"', /./],
  ]
  for (const [what, content, says] of cases) {
    test(`${what}: said, exit 78`, async () => assert.match(await problemsOf('wrong.json', content), says))
  }

  test('a variable that is not set is named', async () => {
    const text = await problemsOf('unset.json', { name: variable('NOT_SET_ANYWHERE') })
    assert.match(text, /NOT_SET_ANYWHERE/)
  })

  test('in YAML stand with line and column', async () => {
    const text = await problemsOf(
      'placed.yaml',
      'routes:\n  - path: /x\n    respond: {}\n    aut: none\n  - path: y\n    respond: {}\n',
    )
    assert.match(text, /placed\.yaml:4:\d+/)
    assert.match(text, /aut\b[\s\S]*auth/)
    assert.match(text, /placed\.yaml:5:\d+/)
  })

  test('in the syntax stand with their place', async () => {
    assert.match(
      await problemsOf('syntax.yaml', 'routes:\n  - path: "/x\n    respond\n'),
      /syntax\.yaml:\d+:\d+/,
    )
    assert.match(
      await problemsOf('syntax.json', '{\n  "routes": [,]\n}'),
      /syntax\.json(:2|[\s\S]*(line 2|position 1[0-9]))/,
    )
    assert.match(await problemsOf('twice.yaml', 'name: a\nname: b\n'), /twice\.yaml:2/)
  })

  test('in a TypeScript config are said too', async () => {
    assert.match(await problemsOf('throws.config.ts', "throw new Error('no such plan')"), /no such plan/)
    assert.match(await problemsOf('nothing.config.ts', 'export const routes = []'), /default/)
    assert.match(await problemsOf('broken.config.ts', 'export default {'), /broken\.config\.ts/)
  })

  test('are all told at once, those of the environment too', async () => {
    const text = await problemsOf(
      'many.yaml',
      'nam: x\nlog: { level: loud }\nroutes:\n  - path: x\n    upstream: nowhere\n',
      { PORT: 'eighty', GATEWAY_JWT_SECRET: 'short', GATEWAY_TRUSTED_PROXIES: 'everyone' },
    )
    for (const part of [
      'nam',
      'level',
      'path',
      'upstream',
      'PORT',
      'GATEWAY_JWT_SECRET',
      'GATEWAY_TRUSTED_PROXIES',
    ]) {
      assert.ok(text.includes(part), `${part} is missing in:\n${text}`)
    }
  })

  test('keep start from starting, in the words of check', async () => {
    const file = directory.write('both.yaml', 'nam: x\nroutes:\n  - path: x\n')
    const env = { PORT: 'eighty' }
    const [checked, started] = await Promise.all([
      runCommand(['check', '--config', file], { env }),
      runCommand(['start', '--config', file], { env }),
    ])
    assert.equal(started.code, 78)
    assert.equal(checked.code, 78)
    assert.doesNotMatch(started.stdout, /listening/i)
    assert.ok(checked.stderr.length > 0)
    assert.equal(started.stderr, checked.stderr)
  })

  test('never show a secret', async () => {
    const secret = 'hunter2-hunter2'
    for (const [content, env] of [
      [{ identity: { secret } }, { GATEWAY_JWT_SECRET: undefined }],
      [{ name: 7 }, { GATEWAY_JWT_SECRET: secret }],
      [{ upstreams: { a: { url: `http://user:${secret}@` } } }, {}],
    ] as const) {
      const text = await problemsOf('secret.json', content, env)
      assert.ok(!text.includes(secret), text)
    }
  })

  test('of a file that is not there, or of another kind', async () => {
    for (const file of [
      `${directory.path}/absent.yaml`,
      directory.path,
      directory.write('gateway.toml', 'a=1'),
    ]) {
      const { code, stderr, stdout } = await runCommand(['start', '--config', file])
      assert.equal(code, 78)
      assert.ok((stderr + stdout).includes(file))
    }
  })

  test('of no keys at all: routes that need a token cannot be guarded', async () => {
    const text = await problemsOf(
      'keyless.json',
      { routes: [{ path: '/x', respond: {} }] },
      { GATEWAY_JWT_SECRET: undefined },
    )
    assert.match(text, /GATEWAY_JWT_SECRET|secret/)
  })
})
