/** Tokens revoked at the admin port are refused by every worker at once, until that is taken back. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { claims, token } from './support/token.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

for (const workers of [1, 3]) {
  describe(`with ${workers} ${workers === 1 ? 'worker' : 'workers'}`, () => {
    let gateway: GatewayProcess

    before(async () => {
      gateway = await startConfigured(
        { server: { workers }, routes: [{ path: '/mine', respond: { body: 'mine' } }] },
        { GATEWAY_WORKERS: undefined, GATEWAY_ADMIN_PORT: '0' },
      )
    })
    after(() => gateway?.stop())

    const revoke = (body: object, headers: Record<string, string> = JSON_TYPE, method = 'POST') =>
      send(`${gateway.adminUrl}/revocations`, { method, headers, body: JSON.stringify(body) })
    const restore = (body: object) => {
      // Node's client sends a body without its length where the method does not expect one.
      const headers = { ...JSON_TYPE, 'content-length': String(JSON.stringify(body).length) }
      return revoke(body, headers, 'DELETE')
    }

    /** Enough new connections for all workers to be asked. */
    async function statuses(signed: string): Promise<number[]> {
      const asked = Array.from({ length: 24 }, () => send(`${gateway.url}/mine`, { headers: bearer(signed) }))
      return [...new Set((await Promise.all(asked)).map(({ status }) => status))]
    }

    test('a session', async () => {
      const revoked = token(claims({ session_id: 'one' }))
      const other = token(claims({ session_id: 'two' }))
      assert.deepEqual(await statuses(revoked), [200])
      assert.equal((await revoke({ session_id: 'one' })).status, 204)
      assert.deepEqual(await statuses(revoked), [401])
      assert.deepEqual(await statuses(other), [200])
      const answer = await send(`${gateway.url}/mine`, { headers: bearer(revoked) })
      assert.equal(answer.json().detail, 'Token has been revoked.')
      assert.match(answer.values('www-authenticate').join(), /error_description="The token has been revoked"/)
    })

    test('a user, but not what the user is issued afterwards', async () => {
      const now = Math.floor(Date.now() / 1000)
      const before = token(claims({ sub: 'ana', iat: now - 60 }))
      assert.deepEqual(await statuses(before), [200])
      assert.equal((await revoke({ user_id: 'ana', expires_in: 600 })).status, 204)
      assert.deepEqual(await statuses(before), [401])
      assert.deepEqual(await statuses(token(claims({ sub: 'ana', iat: now + 5 }))), [200])
    })

    test('a company, until it is taken back', async () => {
      const own = token(claims({ app_metadata: { company_id: 'blocked' } }))
      const other = token(claims({ sub: 'ben' }))
      assert.equal((await revoke({ company_id: 'blocked' })).status, 204)
      assert.deepEqual(await statuses(own), [403])
      assert.deepEqual(await statuses(other), [200])
      const answer = await send(`${gateway.url}/mine`, { headers: bearer(own) })
      assert.equal(answer.json().code, 'company_blocked')
      assert.equal((await restore({ company_id: 'blocked' })).status, 204)
      assert.deepEqual(await statuses(own), [200])
      assert.equal((await restore({ company_id: 'blocked' })).status, 404)
    })

    test('a session that was revoked by mistake', async () => {
      const signed = token(claims({ session_id: 'mistaken' }))
      assert.equal((await revoke({ session_id: 'mistaken' })).status, 204)
      assert.deepEqual(await statuses(signed), [401])
      assert.equal((await restore({ session_id: 'mistaken' })).status, 204)
      assert.deepEqual(await statuses(signed), [200])
    })

    test('taking back what was never revoked: 404', async () => {
      const answer = await restore({ user_id: 'nobody' })
      assert.equal(answer.status, 404)
      assert.match(answer.values('content-type').join(), /problem\+json/)
    })

    test('are counted', async () => {
      assert.equal((await revoke({ session_id: 'counted' })).status, 204)
      assert.equal((await revoke({ session_id: 'counted' })).status, 204)
      assert.deepEqual((await send(`${gateway.adminUrl}/revocations`)).json(), { count: 3 })
    })

    for (const [what, body, status, headers] of [
      ['neither', {}, 400, JSON_TYPE],
      ['both', { session_id: 'a', user_id: 'b' }, 400, JSON_TYPE],
      ['a company without a name', { company_id: '' }, 400, JSON_TYPE],
      ['an empty name', { session_id: '' }, 400, JSON_TYPE],
      [
        'half a character, which no other gateway would be told of',
        { company_id: 'a\ud800' },
        400,
        JSON_TYPE,
      ],
      ['a number', { user_id: 5 }, 400, JSON_TYPE],
      ['no time', { user_id: 'a', expires_in: 0 }, 400, JSON_TYPE],
      ['an unknown key', { user_id: 'a', expire_in: 5 }, 400, JSON_TYPE],
      ['what a page can send without asking', { user_id: 'a' }, 415, { 'content-type': 'text/plain' }],
      ['no type', { user_id: 'a' }, 415, {}],
      ['a long body', { user_id: 'a'.repeat(10_000) }, 413, JSON_TYPE],
      ['a foreign name for this port', { user_id: 'a' }, 421, { ...JSON_TYPE, host: 'evil.example' }],
    ] as const) {
      test(`${what}: ${status}`, async () => {
        const answer = await revoke(body, headers)
        assert.equal(answer.status, status)
        if (status !== 421) assert.match(answer.values('content-type').join(), /problem\+json/)
      })
    }
  })
}
