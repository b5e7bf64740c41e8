/** Companies, users, sessions and addresses that are blocked at the admin port: refused by every worker with the next request. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { WebSocketServer } from 'ws'
import { block, listed, unblock } from './support/blocks.ts'
import { bearer, open, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect, refusal } from './support/websocket.ts'

const ORIGIN = 'https://app.example.com'
const WORDS = 'Unpaid invoice – call “Ana” 📞'
const OWN = { company_id: 'acme', user_id: 'ana', session_id: 's1' }
const jwt = (over: object = {}) =>
  token(claims({ sub: 'ana', session_id: 's1', app_metadata: { company_id: 'acme' }, ...over }))
const MINE = jwt()
const OTHER = token(claims({ sub: 'bob', session_id: 's2', app_metadata: { company_id: 'other' } }))

const service = createServer((request, response) => {
  request.resume()
  if (!request.url!.includes('events')) return response.end('served')
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return response.write('data: hello\n\n')
})
const sockets = new WebSocketServer({ server: service })

before(async () => {
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
})
after(() => {
  sockets.close()
  service.close()
  service.closeAllConnections()
})

for (const workers of [1, 2]) {
  describe(`with ${workers} ${workers === 1 ? 'worker' : 'workers'}`, () => {
    let gateway: GatewayProcess

    before(async () => {
      const upstream = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
      const errorEvent = { eventStream: { errorEvent: true } }
      gateway = await startConfigured(
        {
          // The client of these tests stands behind a proxy that is trusted, and says whom it stands for.
          server: { workers, trustedProxies: ['127.0.0.0/8', '198.51.100.0/24'] },
          cors: { origins: [ORIGIN] },
          routes: [
            { path: '/mine', respond: { body: 'mine' } },
            { path: '/public', auth: 'none', respond: { body: 'public' } },
            { path: '/private/*', upstream, ...errorEvent },
            { path: '/open/*', auth: 'none', upstream, ...errorEvent },
            { path: '/auth/*', auth: 'none', upstream, authService: {} },
          ],
        },
        { GATEWAY_WORKERS: undefined, GATEWAY_ADMIN_PORT: '0' },
      )
    })
    after(() => gateway?.stop('SIGKILL'))
    afterEach(async () => {
      for (const { kind, id } of await listed(gateway)) {
        await unblock(gateway, { [kind === 'ip' ? 'ip' : `${kind}_id`]: id })
      }
    })

    const ask = (path: string, headers: Record<string, string> = {}) =>
      send(`${gateway.url}${path}`, { headers: { origin: ORIGIN, ...headers } })

    /** Enough new connections for all workers to be asked. */
    async function statuses(path: string, headers: Record<string, string>): Promise<number[]> {
      const asked = await Promise.all(Array.from({ length: 16 }, () => ask(path, headers)))
      return [...new Set(asked.map(({ status }) => status))]
    }

    for (const [selector, kind, detail] of [
      ['company_id', 'company', 'This company is blocked.'],
      ['user_id', 'user', 'This user is blocked.'],
      ['session_id', 'session', 'This session is blocked.'],
    ] as const) {
      test(`a ${kind} is refused with the next request, whatever its token, and passes when it is unblocked`, async () => {
        const named = { [selector]: OWN[selector] }
        const later = jwt({ iat: Math.floor(Date.now() / 1000) + 5 })
        assert.deepEqual(await statuses('/mine', bearer(MINE)), [200])
        const done = await block(gateway, { ...named, reason: WORDS })
        assert.equal(done.status, 201)
        assert.deepEqual(done.json(), (await listed(gateway))[0])
        assert.deepEqual(await statuses('/mine', bearer(MINE)), [403])
        assert.deepEqual(await statuses('/mine', bearer(later)), [403])
        assert.deepEqual(await statuses('/mine', bearer(OTHER)), [200])
        const answer = await ask('/mine', bearer(MINE))
        assert.match(answer.values('content-type').join(), /problem\+json/)
        assert.deepEqual(answer.values('access-control-allow-origin'), [ORIGIN])
        const { code, detail: said, reason } = answer.json()
        assert.deepEqual([code, said, reason], [`${kind}_blocked`, detail, WORDS])
        assert.equal((await unblock(gateway, named)).status, 204)
        assert.deepEqual(await statuses('/mine', bearer(MINE)), [200])
        assert.equal((await unblock(gateway, named)).status, 404)
      })
    }

    test('an address is refused on every route, before anything else is looked at, and the probes are not', async () => {
      const from = { 'x-forwarded-for': '203.0.113.9' }
      assert.deepEqual(await statuses('/public', from), [200])
      assert.equal((await block(gateway, { ip: '203.0.113.0/24', reason: WORDS })).status, 201)
      for (const path of ['/public', '/mine', '/private/x', '/open/x', '/'])
        assert.deepEqual(await statuses(path, from), [403], path)
      const answer = await ask('/mine', { ...from, authorization: 'nonsense' })
      assert.deepEqual(answer.values('access-control-allow-origin'), [ORIGIN])
      const { code, detail, reason } = answer.json()
      assert.deepEqual([code, detail, reason], ['ip_blocked', 'This address is blocked.', WORDS])
      const auth = (await ask('/auth/v1/token', from)).json()
      assert.deepEqual([auth.error_code, auth.reason], ['ip_blocked', WORDS])
      for (const path of ['/health', '/ready']) assert.deepEqual(await statuses(path, from), [200])
      assert.deepEqual(await statuses('/public', { 'x-forwarded-for': '203.0.114.9' }), [200])
      assert.equal((await unblock(gateway, { ip: '203.0.113.0/24' })).status, 204)
      assert.deepEqual(await statuses('/public', from), [200])
    })

    test('a preflight of a blocked address is answered, so that a page can read what follows', async () => {
      await block(gateway, { ip: '203.0.113.9', reason: WORDS })
      const answer = await send(`${gateway.url}/mine`, {
        method: 'OPTIONS',
        headers: {
          origin: ORIGIN,
          'access-control-request-method': 'GET',
          'x-forwarded-for': '203.0.113.9',
        },
      })
      assert.equal(answer.status, 204)
    })

    test('an IPv6 address is the same in each of its forms', async () => {
      await block(gateway, { ip: '2001:DB8:0:0:0::1', reason: WORDS })
      assert.deepEqual(
        (await listed(gateway)).map(({ id }) => id),
        ['2001:db8::1'],
      )
      for (const form of ['2001:db8::1', '2001:0db8:0000::0001', '2001:DB8::1'])
        assert.deepEqual(await statuses('/public', { 'x-forwarded-for': form }), [403])
      assert.deepEqual(await statuses('/public', { 'x-forwarded-for': '2001:db8::2' }), [200])
      assert.equal((await block(gateway, { ip: '2001:db8::0001/128', reason: 'again' })).status, 204)
      assert.equal((await unblock(gateway, { ip: '2001:0db8::1' })).status, 204)
      assert.deepEqual(await listed(gateway), [])
    })

    test('an address of a client counts, and none that it made up', async () => {
      await block(gateway, { ip: '203.0.113.9', reason: WORDS })
      // Read from the right: 198.51.100.x is a proxy that is trusted as well
      for (const [chain, status] of [
        ['203.0.113.9, 198.51.100.1', 403],
        ['1.1.1.1, 203.0.113.9, 198.51.100.1', 403],
        ['::ffff:203.0.113.9', 403],
        ['::FFFF:cb00:7109', 403],
        ['203.0.113.9, 192.0.2.1', 200],
        ['192.0.2.1, 198.51.100.1', 200],
        ['203.0.113.9, nonsense', 200],
      ] as const) {
        assert.equal((await ask('/public', { 'x-forwarded-for': chain })).status, status, chain)
      }
    })

    test('a block that ends by itself', async () => {
      await block(gateway, { user_id: 'ana', reason: WORDS, expires_in: 1 })
      const [{ since, until: end } = { since: '', until: null }] = await listed(gateway)
      assert.ok(Math.abs(Date.parse(end!) - Date.parse(since) - 1_000) < 100)
      assert.deepEqual(await statuses('/mine', bearer(MINE)), [403])
      await until('it is over', async () => (await ask('/mine', bearer(MINE))).status === 200)
      assert.ok(Date.now() >= Date.parse(end!))
      assert.deepEqual(await listed(gateway), [])
      assert.equal((await unblock(gateway, { user_id: 'ana' })).status, 404)
    })

    test('the newer reason of the same counts', async () => {
      await block(gateway, { user_id: 'ana', reason: 'first', expires_in: 60 })
      assert.equal((await block(gateway, { user_id: 'ana', reason: 'second' })).status, 204)
      assert.equal((await ask('/mine', bearer(MINE))).json().reason, 'second')
      const all = await listed(gateway)
      assert.deepEqual(
        all.map(each => [each.kind, each.id, each.reason, each.until]),
        [['user', 'ana', 'second', null]],
      )
    })

    test('a company that is blocked as a revocation is in the list, and either port of call takes it back', async () => {
      const revocations = (method: string) => {
        const body = '{"company_id":"acme"}'
        const headers = { 'content-type': 'application/json', 'content-length': String(body.length) }
        return send(`${gateway.adminUrl}/revocations`, { method, headers, body })
      }
      assert.equal((await revocations('POST')).status, 204)
      assert.deepEqual(
        (await listed(gateway)).map(({ kind, id, reason }) => [kind, id, reason]),
        [['company', 'acme', null]],
      )
      const problem = (await ask('/mine', bearer(MINE))).json()
      assert.deepEqual([problem.code, 'reason' in problem], ['company_blocked', false])
      assert.equal((await unblock(gateway, { company_id: 'acme' })).status, 204)
      assert.deepEqual(await statuses('/mine', bearer(MINE)), [200])
      await block(gateway, { company_id: 'acme', reason: WORDS })
      assert.equal((await revocations('DELETE')).status, 204)
      assert.deepEqual(await statuses('/mine', bearer(MINE)), [200])
    })

    test('whoever signs out while blocked is signed out when that is over', async () => {
      await block(gateway, { user_id: 'ana', reason: WORDS })
      const out = await send(`${gateway.url}/auth/v1/logout?scope=local`, {
        method: 'POST',
        headers: bearer(MINE),
      })
      assert.equal(out.status, 200)
      await unblock(gateway, { user_id: 'ana' })
      assert.deepEqual(await statuses('/mine', bearer(MINE)), [401])
      const body = '{"session_id":"s1"}'
      const headers = { 'content-type': 'application/json', 'content-length': String(body.length) }
      await send(`${gateway.adminUrl}/revocations`, { method: 'DELETE', headers, body })
      assert.deepEqual(await statuses('/mine', bearer(MINE)), [200])
    })

    for (const [selector, id] of [...Object.entries(OWN), ['ip', '203.0.113.9']] as const) {
      test(`open sockets and event streams of a blocked ${selector} end within a second, with the reason`, async () => {
        const mine = { 'x-forwarded-for': '203.0.113.9' }
        const route = selector === 'ip' ? '/open' : '/private'
        const identity = selector === 'ip' ? null : MINE
        const leaving = await Promise.all(
          Array.from({ length: 4 }, () =>
            connect(`${gateway.url}${route}/live`, { token: identity, headers: mine }),
          ),
        )
        const staying = await connect(`${gateway.url}/private/live`, { token: OTHER })
        const events = await Promise.all(
          [0, 1].map(async () => {
            const { request, answered } = open(`${gateway.url}${route}/events`, {
              headers: { ...mine, ...(identity === null ? {} : bearer(identity)) },
            })
            request.end()
            const response = (await answered).setEncoding('utf8')
            const text = (async () => {
              let all = ''
              for await (const chunk of response) all += chunk
              return all
            })()
            await until('it began', () => response.headers['content-type'] === 'text/event-stream')
            return { ended: text.then(all => ({ all, at: performance.now() })) }
          }),
        )
        const before = performance.now()
        assert.equal((await block(gateway, { [selector]: id, reason: WORDS })).status, 201)
        for (const peer of leaving) assert.deepEqual(await peer.closed(), { code: 4401, reason: WORDS })
        assert.ok(performance.now() - before < 1_500, 'looked for every half second')
        for (const { all, at } of await Promise.all(events.map(({ ended }) => ended))) {
          const said = JSON.parse(/^event: error\ndata: (.*)$/m.exec(all)![1]!)
          assert.deepEqual([said.code, said.reason], [`${selector.replace('_id', '')}_blocked`, WORDS])
          assert.ok(at - before < 1_500)
        }
        const refused = await refusal(`${gateway.url}${route}/live`, { token: identity, headers: mine })
        assert.deepEqual([refused.status, JSON.parse(refused.body).reason], [403, WORDS])
        assert.equal(staying.socket.readyState, staying.socket.OPEN)
        staying.socket.terminate()
      })
    }

    test('a reason that is too long for a close frame is cut between two characters', async () => {
      const reason = `a${'é'.repeat(199)}`
      const peer = await connect(`${gateway.url}/private/live`, { token: MINE })
      await block(gateway, { user_id: 'ana', reason })
      assert.deepEqual(await peer.closed(), { code: 4401, reason: `a${'é'.repeat(61)}` })
      assert.equal((await ask('/mine', bearer(MINE))).json().reason, reason)
    })

    test('hostile names and reasons are taken as they are', async () => {
      for (const name of [
        '__proto__',
        'a"b\\c',
        'user:ana',
        '\u0000',
        '\n',
        '</script>',
        'é',
        'x'.repeat(256),
      ]) {
        const signed = token(claims({ sub: 'hostile', session_id: name }))
        const reason = '"}{</script>\\u0000 %0d%0a'
        assert.equal((await block(gateway, { session_id: name, reason })).status, 201, name)
        assert.equal((await ask('/mine', bearer(signed))).json().reason, reason)
        assert.equal((await unblock(gateway, { session_id: name })).status, 204)
        assert.equal((await ask('/mine', bearer(signed))).status, 200)
      }
    })

    const JSON_TYPE = { 'content-type': 'application/json' }
    for (const [what, body, status, headers, said] of [
      ['nothing', {}, 400, JSON_TYPE, /one of company_id, user_id, session_id and ip/],
      ['no JSON', '{', 400, JSON_TYPE, /not JSON/],
      ['a list', '[]', 400, JSON_TYPE, /The body/],
      ['two at once', { user_id: 'a', ip: '192.0.2.1', reason: 'x' }, 400, JSON_TYPE, /one of/],
      ['an empty name', { company_id: '', reason: 'x' }, 400, JSON_TYPE, /company_id: must not be empty/],
      ['a long name', { user_id: 'a'.repeat(257), reason: 'x' }, 400, JSON_TYPE, /user_id: .*longer/],
      ['half a character', '{"user_id":"\\ud800","reason":"x"}', 400, JSON_TYPE, /user_id/],
      ['no reason', { user_id: 'a' }, 400, JSON_TYPE, /reason must be there/],
      ['an empty reason', { user_id: 'a', reason: ' ' }, 400, JSON_TYPE, /reason: must not be empty/],
      ['a long reason', { user_id: 'a', reason: 'x'.repeat(201) }, 400, JSON_TYPE, /reason: .*longer/],
      ['a line break', { user_id: 'a', reason: 'x\r\ny' }, 400, JSON_TYPE, /reason: .*line breaks/],
      ['an escape', { user_id: 'a', reason: '\u001b[31m' }, 400, JSON_TYPE, /reason: .*control/],
      ['a number', { user_id: 5, reason: 'x' }, 400, JSON_TYPE, /user_id: must be a text/],
      ['no time', { user_id: 'a', reason: 'x', expires_in: 0 }, 400, JSON_TYPE, /expires_in: must be more/],
      [
        'a long time',
        { user_id: 'a', reason: 'x', expires_in: 1e12 },
        400,
        JSON_TYPE,
        /expires_in: .*at most/,
      ],
      ['an unknown key', { user_id: 'a', reason: 'x', expire_in: 5 }, 400, JSON_TYPE, /expire_in/],
      ['no address', { ip: 'localhost', reason: 'x' }, 400, JSON_TYPE, /ip is no address/],
      ['a zone', { ip: 'fe80::1%eth0', reason: 'x' }, 400, JSON_TYPE, /ip is no address/],
      ['everybody', { ip: '0.0.0.0/0', reason: 'x' }, 400, JSON_TYPE, /wider than \/8/],
      [
        'what a page can send without asking',
        { user_id: 'a' },
        415,
        { 'content-type': 'text/plain' },
        /json/,
      ],
      ['a long body', { user_id: 'a'.repeat(10_000) }, 413, JSON_TYPE, /bytes/],
      [
        'a foreign name for this port',
        { user_id: 'a' },
        421,
        { ...JSON_TYPE, host: 'evil.example' },
        /Misdirected/,
      ],
    ] as const) {
      test(`${what}: ${status}`, async () => {
        const answer = await block(gateway, body, headers)
        assert.equal(answer.status, status)
        assert.match(answer.json().detail, said)
        if (status !== 421) assert.match(answer.values('content-type').join(), /problem\+json/)
        assert.deepEqual(await listed(gateway), [])
      })
    }

    test('PUT is no way to block', async () => {
      assert.equal((await block(gateway, { user_id: 'a', reason: 'x' }, JSON_TYPE, 'PUT')).status, 405)
    })
  })
}
