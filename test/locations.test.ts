/** Where an answer says that something is, the client finds it: `Location` behind prefixes, rewrites and base paths. */

import assert from 'node:assert/strict'
import type http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { type Answer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { exchangeRaw } from './support/raw.ts'
import { type Service, service } from './support/service.ts'

/** What the service says next, from the request and its own address. */
let answer: (
  request: http.IncomingMessage,
  url: string,
) => { status: number; headers: http.OutgoingHttpHeaders }
let backend: Service
let gateway: GatewayProcess

before(async () => {
  backend = await service((request, response) => {
    const { status, headers } = answer(request, backend.url)
    response.writeHead(status, headers).end()
  })
  const { url } = backend
  const shared = { auth: 'none' } as const
  gateway = await startConfigured({
    upstreams: { named: { url, preserveHost: true }, based: { url: `${url}/base/` } },
    routes: [
      { ...shared, path: '/plain/*', upstream: url },
      { ...shared, path: '/api/v1/*', upstream: url, stripPrefix: '/api/v1' },
      { ...shared, path: '/t/{tenant}/*', upstream: url, stripPrefix: true },
      { ...shared, path: '/named/*', upstream: 'named', stripPrefix: true },
      { ...shared, path: '/uploads/*', upstream: url, rewrite: '/files/*' },
      { ...shared, path: '/based/*', upstream: 'based', stripPrefix: true },
    ],
  })
})

after(async () => {
  await gateway?.stop()
  await backend?.close()
})

/** A slash added, as frameworks do it: an absolute URL made of the Host and path that the service sees. */
const addSlash: typeof answer = ({ headers, url }) => ({
  status: 307,
  headers: { location: `http://${headers.host}${url}/` },
})

function created(location: string): typeof answer {
  return () => ({ status: 201, headers: { location } })
}

/** The answer, and where a client that follows it ends up. */
async function ask(path: string): Promise<Answer & { location: string; leadsTo: string }> {
  const received = await send(`${gateway.url}${path}`)
  const [location = '', ...more] = received.values('location')
  assert.deepEqual(more, [])
  return { ...received, location, leadsTo: new URL(location, `${gateway.url}${path}`).href }
}

describe('a redirect of a service to itself leads back through the gateway', () => {
  for (const [name, path, location] of [
    ['as it came', '/plain/orders', '/plain/orders/'],
    ['with a stripped prefix', '/api/v1/orders', '/api/v1/orders/'],
    ['with a parameter in the stripped prefix', '/t/acme/orders', '/t/acme/orders/'],
    ["with the client's Host", '/named/orders', '/named/orders/'],
    ['with a rewritten path', '/uploads/7', '/uploads/7/'],
    ['with a base path', '/based/orders', '/based/orders/'],
  ] as const) {
    test(name, async () => {
      answer = addSlash
      assert.equal((await ask(path)).location, location)
      // A client that follows redirects gets there, and not in circles
      let asked = 0
      answer = (request, url) => (asked++ === 0 ? addSlash(request, url) : { status: 204, headers: {} })
      const followed = await fetch(`${gateway.url}${path}`)
      assert.deepEqual([followed.status, followed.url], [204, `${gateway.url}${location}`])
    })
  }
})

describe('what a service created is found', () => {
  for (const [name, path, said, location] of [
    ['by its path', '/api/v1/orders', '/orders/7', '/api/v1/orders/7'],
    ['by its path, rewritten', '/uploads', '/files/7', '/uploads/7'],
    ['by its path, with a base path', '/based/orders', '/base/orders/7', '/based/orders/7'],
    ['by the path that X-Forwarded-Prefix led to', '/api/v1/orders', '/api/v1/orders/7', '/api/v1/orders/7'],
  ] as const) {
    test(name, async () => {
      answer = created(said)
      assert.equal((await ask(path)).location, location)
    })
  }
  test('by the host of X-Forwarded-Host', async () => {
    answer = ({ headers }) => ({
      status: 201,
      headers: { location: `${headers['x-forwarded-proto']}://${headers['x-forwarded-host']}/orders/7` },
    })
    assert.equal((await ask('/api/v1/orders')).leadsTo, `${gateway.url}/api/v1/orders/7`)
  })
  test('by a relative reference, which needs no help', async () => {
    answer = created('orders/7')
    const { location, leadsTo } = await ask('/api/v1/orders')
    assert.deepEqual([location, leadsTo], ['orders/7', `${gateway.url}/api/v1/orders/7`])
  })
  test('by Content-Location, too, whatever its letter case', async () => {
    answer = (_, url) => ({ status: 200, headers: { 'CONTENT-location': `${url}/orders/7` } })
    assert.deepEqual((await ask('/api/v1/orders')).values('content-location'), ['/api/v1/orders/7'])
  })
})

describe('what leads elsewhere passes byte for byte', () => {
  for (const location of [
    'https://accounts.example.com/o/oauth2/auth?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&state=a%20b',
    'https://app.example.com/welcome#access_token=a.b.c',
    'myapp://signed-in?code=1',
    'http://127.0.0.1:1/elsewhere',
    '//cdn.example.com/a',
    '?page=2',
  ]) {
    for (const path of ['/plain/x', '/api/v1/x', '/based/x']) {
      test(`${location} from ${path}`, async () => {
        answer = () => ({ status: 302, headers: { location } })
        assert.equal((await ask(path)).location, location)
      })
    }
  }
  test('the page of an application on the host of the gateway', async () => {
    const location = `${gateway.url}/welcome#access_token=a`
    answer = () => ({ status: 303, headers: { location } })
    assert.equal((await ask('/api/v1/auth/verify')).location, location)
  })
})

test('the same answer through several routes, and for several clients, is mapped for each', async () => {
  answer = created('/files/7')
  for (let round = 0; round < 3; round++) {
    assert.equal((await ask('/api/v1/x')).location, '/api/v1/files/7')
    assert.equal((await ask('/t/acme/x')).location, '/t/acme/files/7')
    assert.equal((await ask('/t/globex/x')).location, '/t/globex/files/7')
    assert.equal((await ask('/plain/x')).location, '/files/7')
    assert.equal((await ask('/uploads/x')).location, '/uploads/7')
  }
})

describe('no path of a service becomes another host', () => {
  for (const rest of ['//evil.example/', '/\\evil.example/', '/\t/evil.example/', '///evil.example/']) {
    for (const path of ['/plain/x', '/api/v1/x', '/based/x', '/uploads/x']) {
      test(`${JSON.stringify(rest)} from ${path}`, async () => {
        for (const status of [201, 302]) {
          answer = (_, url) => ({ status, headers: { location: url + rest } })
          const { leadsTo } = await ask(path)
          assert.ok([gateway.url, backend.url].includes(new URL(leadsTo).origin), leadsTo)
        }
      })
    }
  }
  test('nor does one behind a base path', async () => {
    answer = created('/base//evil.example/')
    assert.equal((await ask('/based/x')).leadsTo, `${gateway.url}/based//evil.example/`)
  })
})

test('what services say to an nginx in front of them does not reach clients', async () => {
  const said = {
    'X-Accel-Buffering': 'no',
    'x-accel-redirect': '/protected/report.pdf',
    'X-Accel-Expires': '60',
    'X-ACCEL-Limit-Rate': '1024',
    'X-Accel-Charset': 'utf-8',
    'X-Accelerated': 'yes',
  }
  answer = () => ({ status: 200, headers: said })
  const { text } = await exchangeRaw(
    gateway.port,
    'GET /plain/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  )
  assert.match(text, /^HTTP\/1\.1 200 /)
  assert.match(text, /\r\nX-Accelerated: yes\r\n/)
  assert.doesNotMatch(text, /x-accel-/i)
})
