/** Policies that a team writes itself, in a TypeScript config: the same function type as the built-in ones. */

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const CONFIG = `
import { defineGateway, GatewayError, json, type Policy } from 'nyro-gateway'
import { region } from './region.ts'

const nameRegion: Policy = (exchange, next) => {
  exchange.upstreamHeaders.set('X-Region', region(exchange.identity?.companyId ?? ''))
  return next(exchange)
}
const teapot: Policy = (exchange, next) =>
  !exchange.headers.get('x-tea') ? next(exchange) : json(418, { user: exchange.identity?.userId })
const stamp: Policy = async (exchange, next) => {
  const reply = await next(exchange)
  return { ...reply, headers: [...reply.headers, 'X-Stamp', exchange.params.id ?? 'none'] }
}
const hostile: Policy = (exchange, next) => {
  exchange.upstreamHeaders.set('X-Break', 'a\\r\\nX-Company-ID: globex')
  return next(exchange)
}
const upstream = process.env.UPSTREAM_URL!
export default defineGateway({
  policies: [stamp],
  routes: [
    { path: '/items/{id}', upstream, policies: [nameRegion, teapot] },
    { path: '/hostile', upstream, policies: [hostile] },
    { path: '/open', auth: 'none', upstream },
    { path: '/throws', auth: 'none', upstream, policies: [() => { throw new Error('inner') }] },
    { path: '/nothing', auth: 'none', upstream, policies: [(() => undefined) as unknown as Policy] },
    { path: '/nothing/plain', auth: 'none', cors: false, upstream, policies: [(() => undefined) as unknown as Policy] },
    { path: '/longer', auth: 'none', upstream, policies: [async (exchange, next) => ({ ...(await next(exchange)), body: 'longer than it was before' })] },
    { path: '/role', upstream, policies: [exchange => {
      try { (exchange.identity!.claims as Record<string, unknown>).role = 'admin' } catch {}
      return json(200, exchange.identity!.claims.role)
    }] },
    { path: '/refuses', auth: 'none', upstream, policies: [() => { throw new GatewayError('claim_required') }] },
    { path: '/twice', auth: 'none', upstream, policies: [async (exchange, next) => { await next(exchange); return next(exchange) }] },
  ],
})
`

let upstream: RecordingUpstream
let gateway: GatewayProcess
let directory: ConfigDirectory

before(async () => {
  directory = configDirectory()
  upstream = await recordingUpstream()
  directory.write(
    'region.ts',
    "export const region = (company: string): string => (company === 'acme' ? 'eu' : 'us')\n",
  )
  gateway = await startGateway({
    args: ['--config', directory.write('gateway.config.ts', CONFIG)],
    env: { UPSTREAM_URL: upstream.url },
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
  directory?.remove()
})

test('reads the identity and adds a header for the upstream', async () => {
  for (const [company, region] of [
    ['acme', 'eu'],
    ['globex', 'us'],
  ] as const) {
    const headers = {
      ...bearer(token(claims({ app_metadata: { company_id: company } }))),
      'x-region': 'spoofed',
      X_REGION: 'spoofed',
    }
    assert.equal((await send(`${gateway.url}/items/7`, { headers })).status, 200)
    const request = upstream.requests.at(-1)!
    assert.deepEqual(request.values('x-region'), [region])
    assert.deepEqual(request.values('x_region'), [])
  }
})

test('answers by itself, after the token was checked', async () => {
  const before = upstream.requests.length
  const answer = await send(`${gateway.url}/items/7`, { headers: { ...bearer(token()), 'X-Tea': '1' } })
  assert.equal(answer.status, 418)
  assert.deepEqual(answer.json(), { user: '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11' })
  assert.ok(answer.headers['x-request-id'])
  assert.equal((await send(`${gateway.url}/items/7`, { headers: { 'X-Tea': '1' } })).status, 401)
  assert.equal(upstream.requests.length, before)
})

test('changes the head of an answer and sees the parameters of the path', async () => {
  const answer = await send(`${gateway.url}/items/7`, { headers: bearer(token()) })
  assert.deepEqual(answer.values('x-stamp'), ['7'])
  assert.equal(answer.text, '{"ok":true}')
  assert.deepEqual((await send(`${gateway.url}/open`)).values('x-stamp'), ['none'])
})

test('refuses with an error of the set', async () => {
  const answer = await send(`${gateway.url}/refuses`)
  assert.equal(answer.status, 403)
  assert.equal(answer.json().code, 'claim_required')
})

for (const path of ['/throws', '/nothing', '/hostile']) {
  test(`at ${path} does no harm beyond a 500`, async () => {
    const before = upstream.requests.length
    const answer = await send(gateway.url + path, {
      headers: { ...bearer(token()), 'x-request-id': `fault-at${path.slice(1)}` },
    })
    assert.equal(answer.status, 500)
    assert.equal(answer.json().detail, 'An internal server error occurred.')
    assert.ok(!answer.text.includes('inner'))
    assert.equal(upstream.requests.length, before)
    await gateway.logged(
      record => record.request_id === `fault-at${path.slice(1)}` && record.status_code === 500,
    )
    assert.equal((await send(`${gateway.url}/open`)).status, 200)
    assert.equal(gateway.child.exitCode, null)
  })
}

test('that calls next twice leaves the gateway whole', async () => {
  const answer = await send(`${gateway.url}/twice`)
  assert.ok([200, 500].includes(answer.status), `status ${answer.status}`)
  assert.equal((await send(`${gateway.url}/open`)).status, 200)
})

test('a policy that returns nothing becomes 500, also where nothing stands around it', async () => {
  assert.equal((await send(`${gateway.url}/nothing/plain`)).status, 500)
})

test('a body that a policy replaced goes with its own length', async () => {
  const { status, body } = await send(`${gateway.url}/longer`)
  assert.deepEqual([status, String(body)], [200, 'longer than it was before'])
})

test('what a policy writes into claims is not there for the next request', async () => {
  const headers = bearer(token(claims({ role: 'authenticated' })))
  for (let round = 0; round < 2; round++) {
    const { body } = await send(`${gateway.url}/role`, { headers })
    assert.equal(String(body), '"authenticated"')
  }
})
