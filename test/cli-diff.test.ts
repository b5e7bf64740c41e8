/** `nyro-gateway diff OLD NEW`: what a change means, before it is made. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { runCommand, SECRET } from './support/gateway.ts'

let directory: ConfigDirectory

before(() => {
  directory = configDirectory()
})
after(() => directory?.remove())

const routes = [
  { name: 'reports', path: '/reports/*', upstream: 'query' },
  { name: 'query', path: '/query/*', upstream: 'query', timeouts: { firstByte: 60 } },
  { name: 'old', path: '/old', respond: { body: 'x' } },
]
const OLD = {
  identity: { secret: SECRET },
  cors: { origins: ['https://example.com'] },
  redis: { url: 'redis://:first-password@127.0.0.1:6379' },
  upstreams: { query: { url: 'http://query:8000' } },
  routes,
}

async function differs(now: object, old: object = OLD): Promise<string[]> {
  const files = [directory.write('old.json', old), directory.write('new.json', now)]
  // The environment would win over both
  const env = { GATEWAY_JWT_SECRET: undefined, PORT: undefined }
  const { code, stdout, stderr } = await runCommand(['diff', ...files], { env })
  assert.equal(code, 0, stderr)
  return stdout.trimEnd().split('\n')
}

describe('diff', () => {
  test('says what a change means, who may do more before all else', async () => {
    const now = {
      identity: { secret: `${SECRET}-2`, leeway: '1m' },
      server: { port: 9000 },
      cors: { origins: ['https://example.com'], originPatterns: ['https://app-*.example.com'] },
      redis: { url: 'redis://:second-password@127.0.0.1:6379' },
      upstreams: { query: { url: 'http://query:8001' } },
      routes: [
        { ...routes[0]!, auth: 'none' },
        { ...routes[1]!, timeouts: { firstByte: 30 }, company: 'optional' },
        { name: 'exports', path: '/exports', auth: 'optional', respond: { body: 'x' } },
      ],
    }
    const lines = await differs(now)
    assert.deepEqual(lines, [
      '1 route becomes public: reports',
      '1 route takes requests without a token: exports',
      '1 route takes tokens without a company: query',
      '1 route is added: exports',
      '1 route is removed: old',
      '2 routes change: reports, query',
      '  reports  auth  required → none',
      '  query  company  required → optional',
      '  query  timeouts.firstByte  60 → 30',
      'settings',
      '  server.port  8080 → 9000',
      '  identity.secret  changed',
      '  identity.leeway  30 → 60',
      '  cors.originPatterns  [] → [https://app-*.example.com]',
      '  upstreams.query.url  http://query:8000 → http://query:8001',
      '  redis.url  changed',
      '2 settings need a restart: server.port, redis.url.password',
    ])
  })

  test('tells of routes that are let in again, and of several at once', async () => {
    const open = { ...OLD, routes: routes.map(route => ({ ...route, auth: 'none' })) }
    assert.equal((await differs(open))[0], '3 routes become public: reports, query, old')
    assert.equal((await differs(OLD, open))[0], '3 routes ask for a token: reports, query, old')
  })

  test('finds no difference in another order, or in functions of the same text', async () => {
    assert.deepEqual(await differs({ ...OLD, routes: routes.toReversed() }), ['no difference'])
    const module = (more: string) => `
      const policy = (exchange, next) => next(exchange)
      export default { routes: [{ path: '/x', auth: 'none', respond: {}, policies: [policy${more}] }] }
    `
    const files = ['a', 'b', 'c'].map(name =>
      directory.write(`${name}.config.mjs`, module(name === 'c' ? ', policy' : '')),
    )
    const env = { GATEWAY_JWT_SECRET: SECRET }
    assert.equal((await runCommand(['diff', files[0]!, files[1]!], { env })).stdout, 'no difference\n')
    const more = (await runCommand(['diff', files[0]!, files[2]!], { env })).stdout
    assert.match(more, /^1 route changes: \/x\n {2}\/x {2}policies {2}\[policy\] → \[policy, policy\]\n$/)
  })

  test('never prints credentials, wherever they stand', async () => {
    const now = {
      ...OLD,
      identity: { secret: `${SECRET}-2` },
      redis: { url: 'redis+sentinel://user:second-password@127.0.0.1:26379/main' },
      upstreams: { query: { url: 'http://query:8000' } },
    }
    const text = (await differs(now)).join('\n')
    for (const secret of [SECRET, 'first-password', 'second-password'])
      assert.ok(!text.includes(secret), text)
  })

  test('takes two files that are valid', async () => {
    const good = directory.write('good.json', OLD)
    const bad = directory.write('bad.json', { ...OLD, routes: [{ path: 'x' }] })
    const wrong = await runCommand(['diff', good, bad], { env: {} })
    assert.deepEqual([wrong.code, wrong.stdout], [78, ''])
    assert.match(wrong.stderr, /bad\.json/)
    for (const args of [[], [good], [good, good, good], [good, good, '--csv']]) {
      const { code, stdout, stderr } = await runCommand(['diff', ...args], { env: {} })
      assert.deepEqual([code, stdout], [64, ''])
      assert.match(stderr, /diff/)
    }
  })
})
