/** Keys over reloads: kept where they come from the same place, there in time where they come from another. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { keyServer, signingKey } from './support/jwks.ts'
import { startReloading } from './support/reloading.ts'
import { until } from './support/until.ts'

test('tokens are good without a pause, whichever keys they are signed with', async context => {
  const [first, second] = [await signingKey('ES256', 'first'), await signingKey('ES256', 'second')]
  const [one, two] = [await keyServer([first.publicJwk]), await keyServer([second.publicJwk])]
  const config = (url: string, more: object = {}) => ({
    identity: { jwks: { url } },
    routes: [{ path: '/mine', respond: { body: 'mine' } }],
    ...more,
  })
  const gateway = await startReloading(config(one.url), { env: { GATEWAY_JWT_SECRET: undefined } })
  context.after(async () => {
    await gateway.stop()
    await Promise.all([one.close(), two.close()])
  })
  const statuses = async (token: string): Promise<number[]> => {
    const found = new Set<number>()
    for (let time = 0; time < 8; time++)
      found.add((await send(`${gateway.url}/mine`, { headers: bearer(token) })).status)
    return [...found]
  }
  await gateway.logged(({ event }) => event === 'JWKS fetched')
  assert.deepEqual(await statuses(await first.sign()), [200])

  await gateway.reload(config(one.url, { name: 'Another' }))
  assert.equal(one.fetches(), 1, 'the keys of the same place are not fetched again')
  assert.deepEqual(await statuses(await first.sign()), [200])

  const nowhere = await gateway.reload(config('http://127.0.0.1:1/keys'))
  assert.match(String(nowhere.problems), /keys \(identity\.jwks\) could not be fetched/)
  assert.deepEqual(await statuses(await first.sign()), [200])

  assert.equal((await gateway.reload(config(two.url))).event, 'Configuration reloaded')
  assert.deepEqual(await statuses(await second.sign()), [200])
  assert.deepEqual(await statuses(await first.sign()), [401])
  assert.equal((await send(`${gateway.adminUrl}/ready`)).status, 200)

  // New keys come to whoever serves now
  const third = await signingKey('ES256', 'third')
  two.keys.push(third.publicJwk)
  await gateway.reload(config(two.url, { identity: { jwks: { url: two.url, cooldown: 0.1 } } }))
  assert.deepEqual(await statuses(await third.sign()), [200])
  const fourth = await signingKey('ES256', 'fourth')
  two.keys.push(fourth.publicJwk)
  const token = await fourth.sign()
  await until('behind the cooldown it is fetched', async () => (await statuses(token)).join() === '200')
})
