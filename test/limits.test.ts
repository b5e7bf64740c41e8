/** Plans in a running gateway: what passes, what is refused, and what answers say of it. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { type Answer, bearer, open, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { type ClaimSet, claims, token } from './support/token.ts'
import { until } from './support/until.ts'

const ORIGIN = 'https://app.example.com'
const WINDOW = 3_600

let gateway: GatewayProcess
let upstream: HttpUpstream
/** Answers of `/hold` that have not been given yet. */
const held: http.ServerResponse[] = []

before(async () => {
  upstream = await httpUpstream(({ target, message, response }) => {
    const url = new URL(target, 'http://upstream')
    if (url.pathname.endsWith('/hold')) return void held.push(response)
    const reported = url.searchParams.get('cost')
    if (reported !== null) response.setHeader('X-Cost', reported)
    if (url.pathname.endsWith('/events')) {
      response.setHeader('Content-Type', 'text/event-stream')
      response.write('data: {"text":"Hola"}\n\n')
      return void response.end(
        `data: {"usage":{"total":${url.searchParams.get('tokens')}}}\n\ndata: [DONE]\n\n`,
      )
    }
    response.setHeader('RateLimit', '"upstream";r=1')
    message.resume().on('end', () => response.end('x'.repeat(Number(url.searchParams.get('size') ?? 2))))
  })
  gateway = await startConfigured(
    {
      server: { trustedProxies: ['127.0.0.2'] },
      cors: { origins: [ORIGIN] },
      upstreams: { api: { url: upstream.url } },
      limits: {
        companies: { table: 'pro' },
        defaultPlan: 'free',
        plans: {
          free: {
            rules: [
              { name: 'burst', limit: 3, window: WINDOW, routes: ['api'] },
              { name: 'daily', limit: 100, window: 'day', routes: ['api'] },
            ],
          },
          pro: { rules: [{ name: 'burst', limit: 60, window: WINDOW, burst: 20, routes: ['api'] }] },
          trial: { rules: [{ name: 'trial', limit: 1, window: WINDOW, dryRun: true }] },
          parallel: {
            rules: [
              { name: 'parallel', concurrent: 2 },
              { name: 'sockets', sockets: 1 },
            ],
          },
          users: { rules: [{ name: 'each-user', limit: 1, window: WINDOW, by: 'user' }] },
          teams: { rules: [{ name: 'team', limit: 1, window: WINDOW, by: 'claim:app_metadata.team' }] },
          address: { rules: [{ name: 'address', limit: 2, window: WINDOW, by: 'ip' }] },
          paid: { rules: [{ name: 'cost', limit: 100, window: 'month', unit: 'cost' }] },
          bytes: {
            rules: [
              { name: 'down', limit: '10kB', window: WINDOW, unit: 'bytesOut' },
              { name: 'up', limit: '10kB', window: WINDOW, unit: 'bytesIn' },
            ],
          },
          both: {
            rules: [
              { name: 'wide', limit: 5, window: WINDOW },
              { name: 'narrow', limit: 1, window: WINDOW, routes: ['narrow'] },
            ],
          },
        },
      },
      routes: [
        { name: 'api', path: '/api/*', upstream: 'api' },
        { name: 'narrow', path: '/narrow/*', upstream: 'api' },
        {
          name: 'costly',
          path: '/costly/*',
          upstream: 'api',
          cost: { weight: 10, header: 'X-Cost', event: 'usage.total' },
        },
        { name: 'public', path: '/public/*', upstream: 'api', auth: 'none' },
        { name: 'auth', path: '/auth/*', upstream: 'api', auth: 'none', authService: true },
      ],
    },
    { GATEWAY_ADMIN_PORT: '0' },
  )
})
after(async () => {
  for (const response of held) response.end()
  await gateway?.stop()
  await upstream?.close()
})

let companies = 0
/** Headers of a company that no other test knows. */
function company(plan?: string, over: ClaimSet = {}, id = `company-${companies++}`) {
  const metadata = { company_id: id, ...(plan === undefined ? {} : { plan }), ...over }
  return bearer(token(claims({ sub: `user-of-${id}`, app_metadata: metadata })))
}

/** All that an exchange counted is counted when its line is written. */
async function ended(answer: Answer): Promise<Answer> {
  const id = answer.headers['x-request-id']
  await gateway.logged(record => record.request_id === id)
  return answer
}

const get = (path: string, headers: Record<string, string>) => send(`${gateway.url}${path}`, { headers })
/** One after the other. */
async function statuses(count: number, path: string, headers: Record<string, string>): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < count; i++) found.push((await get(path, headers)).status)
  return found
}

function refused(answer: Answer, policy: string): void {
  assert.equal(answer.status, 429)
  const problem = answer.json()
  assert.equal(problem.type, 'https://iana.org/assignments/http-problem-types#quota-exceeded')
  assert.equal(problem.code, 'rate_limited')
  assert.deepEqual(problem['violated-policies'], [policy])
  assert.match(String(answer.headers['retry-after']), /^[1-9]\d*$/)
}

describe('a plan', () => {
  test('is the default one', async () => {
    const headers = company()
    assert.deepEqual(await statuses(4, '/api/x', headers), [200, 200, 200, 429])
    refused(await get('/api/x', headers), 'burst')
  })

  test('is the one of the claim', async () => {
    assert.deepEqual(new Set(await statuses(20, '/api/x', company('pro'))), new Set([200]))
  })

  test('is the one of the table, whatever the claim says', async () => {
    assert.deepEqual(new Set(await statuses(5, '/api/x', company('users', {}, 'table'))), new Set([200]))
  })

  test('that does not exist is the default one, and told once', async () => {
    const headers = company('platinum')
    assert.deepEqual(await statuses(4, '/api/x', headers), [200, 200, 200, 429])
    const line = await gateway.logged(({ plan }) => plan === 'platinum')
    assert.equal(line.level, 'warning')
    await statuses(12, '/api/x', company('platinum', {}, String(line.company_id)))
    assert.equal(gateway.log.filter(({ plan }) => plan === 'platinum').length, 1)
  })

  test('that is no text is none', async () => {
    assert.deepEqual(await statuses(4, '/api/x', company(undefined, { plan: ['pro'] })), [200, 200, 200, 429])
  })

  test('of one company is untouched by what another does', async () => {
    await statuses(5, '/api/x', company())
    assert.equal((await get('/api/x', company())).status, 200)
  })

  test('cannot be slipped by another spelling of the path', async () => {
    const headers = company()
    const paths = ['/api/x', '/api/x/', '/api/x?a=1']
    for (const path of paths) assert.equal((await get(path, headers)).status, 200)
    for (const path of [...paths, '/api/y', '/api/%78']) {
      assert.notEqual((await get(path, headers)).status, 200, path)
    }
  })

  test('holds for routes that it names, and leaves others alone', async () => {
    assert.deepEqual(new Set(await statuses(6, '/narrow/x', company())), new Set([200]))
  })
})

describe('60 requests at once', () => {
  test('at a limit of 20: exactly 20 pass', async () => {
    const headers = company('pro')
    const answers = await Promise.all(Array.from({ length: 60 }, () => get('/api/x', headers)))
    assert.equal(answers.filter(({ status }) => status === 200).length, 20)
    assert.equal(answers.filter(({ status }) => status === 429).length, 40)
  })
})

describe('an answer', () => {
  test('says what is left, the limit that binds first in front', async () => {
    const answer = await get('/api/x', company())
    assert.equal(answer.headers['ratelimit-policy'], `"burst";q=3;w=${WINDOW}, "daily";q=100;w=86400`)
    assert.match(String(answer.headers.ratelimit), /^"burst";r=2;t=1200, "daily";r=99;t=\d+$/)
  })

  test('that refuses says so too, and names no company', async () => {
    const headers = company()
    await statuses(3, '/api/x', headers)
    const answer = await get('/api/x', headers)
    assert.match(String(answer.headers.ratelimit), /^"burst";r=0;t=1200/)
    assert.equal(answer.headers['retry-after'], '1200')
    assert.doesNotMatch(answer.text + JSON.stringify(answer.headers), /company-\d/)
  })

  test('has one RateLimit, not that of the upstream beside it', async () => {
    const answer = await get('/api/x', company())
    assert.equal(answer.values('ratelimit').length, 1)
  })

  test('can be read by scripts', async () => {
    const answer = await get('/api/x', { ...company(), origin: ORIGIN })
    assert.match(
      String(answer.headers['access-control-expose-headers']),
      /RateLimit, RateLimit-Policy, Retry-After/,
    )
    const headers = company()
    await statuses(3, '/api/x', headers)
    assert.equal(
      (await get('/api/x', { ...headers, origin: ORIGIN })).headers['access-control-allow-origin'],
      ORIGIN,
    )
  })
})

describe('a rule', () => {
  test('in dry run is counted and logged, and refuses nothing', async () => {
    const headers = company('trial')
    const answers = [
      await get('/public/none', {}),
      await get('/api/x', headers),
      await get('/api/x', headers),
    ]
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200],
    )
    assert.equal(answers[2]!.headers.ratelimit, undefined)
    const line = await gateway.logged(
      record => Array.isArray(record.violated_policies) && String(record.violated_policies) === 'trial',
    )
    assert.equal(line.status_code, 200)
  })

  test('per user is another one for each user of a company', async () => {
    const id = `company-${companies++}`
    const of = (sub: string) =>
      bearer(token(claims({ sub, app_metadata: { company_id: id, plan: 'users' } })))
    assert.deepEqual(await statuses(2, '/api/x', of('u1')), [200, 429])
    assert.deepEqual(await statuses(2, '/api/x', of('u2')), [200, 429])
  })

  test('per claim is shared by those who have the same, and by the company of those without', async () => {
    const id = `company-${companies++}`
    const of = (team?: string) => company('teams', team === undefined ? {} : { team }, id)
    assert.deepEqual(await statuses(2, '/api/x', of('red')), [200, 429])
    assert.deepEqual(await statuses(2, '/api/x', of('blue')), [200, 429])
    assert.deepEqual(await statuses(2, '/api/x', of()), [200, 429])
  })

  test('per address is not slipped by another company, nor by what a client says of its address', async () => {
    assert.equal((await get('/api/x', company('address'))).status, 200)
    assert.equal(
      (await get('/api/x', { ...company('address'), 'x-forwarded-for': '203.0.113.7' })).status,
      200,
    )
    for (const name of ['x-forwarded-for', 'x-real-ip', 'forwarded']) {
      assert.equal((await get('/api/x', { ...company('address'), [name]: '203.0.113.8' })).status, 429)
    }
  })

  test('that refuses takes nothing of those before it', async () => {
    const headers = company('both')
    assert.deepEqual(await statuses(4, '/narrow/x', headers), [200, 429, 429, 429])
    assert.match(String((await get('/api/x', headers)).headers.ratelimit), /"wide";r=3/)
  })
})

describe('requests at a time', () => {
  test('are so many, until one of them has ended', async () => {
    const headers = company('parallel')
    const before = held.length
    const running = [0, 1].map(() => open(`${gateway.url}/api/hold`, { headers }))
    for (const { request } of running) request.end()
    await until('both are at the upstream', () => held.length === before + 2)
    const third = await get('/api/x', headers)
    refused(third, 'parallel')
    assert.match(String(third.headers['ratelimit-policy']), /"parallel";q=2;qu="concurrent-requests"/)
    held[before]!.end()
    ;(await Promise.race(running.map(({ answered }) => answered))).resume()
    await until('a slot is free', async () => (await get('/api/x', headers)).status === 200)
  })

  test('do not count those whose client has left', async () => {
    const headers = company('parallel')
    const before = held.length
    const running = [0, 1].map(() => open(`${gateway.url}/api/hold`, { headers }))
    for (const { request } of running) request.end()
    await until('both are at the upstream', () => held.length === before + 2)
    for (const { request } of running) request.destroy()
    await until('both slots are free', async () => {
      const answers = await Promise.all([get('/api/x', headers), get('/api/x', headers)])
      return answers.every(({ status }) => status === 200)
    })
  })
})

describe('a cost', () => {
  const costly = async (path: string, headers: Record<string, string>) => ended(await get(path, headers))
  const left = async (headers: Record<string, string>): Promise<number> =>
    Number(/"cost";r=(\d+)/.exec(String((await get('/api/x', headers)).headers.ratelimit))![1])

  test('is the weight of the route', async () => {
    const headers = company('paid')
    const answer = await costly('/costly/x', headers)
    assert.match(String(answer.headers.ratelimit), /^"cost";r=90;t=\d+$/)
    assert.match(String(answer.headers['ratelimit-policy']), /^"cost";q=100;qu="cost"$/)
    assert.equal(await left(headers), 89)
  })

  test('is what the service reports, which clients do not see', async () => {
    const headers = company('paid')
    const answer = await costly('/costly/x?cost=42', headers)
    assert.equal(answer.headers['x-cost'], undefined)
    assert.equal(await left(headers), 57)
  })

  test('may be less than the weight', async () => {
    const headers = company('paid')
    await costly('/costly/x?cost=0.5', headers)
    assert.equal(await left(headers), 98)
  })

  test('stands in the last event of a stream', async () => {
    const headers = company('paid')
    const answer = await costly('/costly/events?tokens=33', headers)
    assert.match(
      answer.text,
      /^data: \{"text":"Hola"\}\n\ndata: \{"usage":\{"total":33\}\}\n\ndata: \[DONE\]\n\n$/,
    )
    assert.equal(await left(headers), 66)
  })

  for (const bad of ['-5', 'NaN', 'many', '1e99', 'Infinity', '0x10', '']) {
    test(`that is ${JSON.stringify(bad)} is the weight of the route`, async () => {
      const headers = company('paid')
      await costly(`/costly/x?cost=${encodeURIComponent(bad)}`, headers)
      assert.equal(await left(headers), 89)
    })
  }

  test('beyond the quota is counted, and what comes next is refused', async () => {
    const headers = company('paid')
    assert.equal((await costly('/costly/x?cost=1000', headers)).status, 200)
    refused(await get('/api/x', headers), 'cost')
  })
})

describe('bytes', () => {
  test('of answers are counted when they have left', async () => {
    const headers = company('bytes')
    assert.equal((await get('/api/x?size=12000', headers)).status, 200)
    await until('they are counted', async () => (await get('/api/x', headers)).status === 429)
    refused(await get('/api/x', headers), 'down')
  })

  test('of requests are counted', async () => {
    const headers = company('bytes')
    const post = () => send(`${gateway.url}/api/x`, { method: 'POST', headers, body: 'x'.repeat(11_000) })
    assert.equal((await ended(await post())).status, 200)
    refused(await post(), 'up')
  })
})

describe('without a token', () => {
  test('the address stands for whoever it is', async () => {
    // The default plan names another route
    assert.deepEqual(new Set(await statuses(5, '/public/x', {})), new Set([200]))
  })
})

describe('in front of tokens', () => {
  test('a limit per address stands with those of the plan, the one that binds first in front', async context => {
    const both = await startConfigured({
      limits: {
        clients: [{ name: 'client', limit: 4, window: WINDOW }],
        defaultPlan: 'free',
        plans: { free: { rules: [{ name: 'burst', limit: 2, window: WINDOW }] } },
      },
      routes: [{ path: '/mine', respond: {} }],
    })
    context.after(() => both.stop())
    const headers = company()
    const fields: string[] = []
    for (let i = 0; i < 3; i++) {
      const answer = await send(`${both.url}/mine`, { headers })
      fields.push(
        answer
          .values('ratelimit')
          .join(', ')
          .replaceAll(/;t=\d+/g, ''),
      )
      const policies = answer.values('ratelimit-policy').join(', ')
      assert.match(policies, /"client";q=4;w=3600/)
      assert.match(policies, /"burst";q=2;w=3600/)
    }
    assert.deepEqual(fields, [
      '"burst";r=1, "client";r=3',
      '"burst";r=0, "client";r=2',
      '"burst";r=0, "client";r=1',
    ])
    const other = await send(`${both.url}/mine`, { headers: company() })
    assert.match(other.values('ratelimit').join(', '), /^"client";r=0;t=\d+, "burst";r=1;t=\d+$/)
  })

  test('a limit per address spares the verifier, and a proxy that is trusted speaks for its clients', async context => {
    const guarded = await startConfigured({
      server: { trustedProxies: ['127.0.0.2'] },
      limits: { clients: [{ name: 'client', limit: 3, window: WINDOW }] },
      routes: [
        { path: '/mine', respond: { body: 'mine' } },
        { path: '/auth/*', upstream: upstream.url, auth: 'none', authService: true },
      ],
    })
    context.after(() => guarded.stop())
    const ask = (path: string, from: string, headers: Record<string, string> = {}) =>
      new Promise<http.IncomingMessage>((resolve, reject) => {
        const request = http.get(
          `${guarded.url}${path}`,
          { headers, localAddress: from, agent: false },
          resolve,
        )
        request.once('error', reject)
      })
    const statusOf = async (...args: Parameters<typeof ask>): Promise<number> => {
      const response = await ask(...args)
      response.resume()
      await once(response, 'end')
      return response.statusCode!
    }
    const forged = bearer('a.b.c')
    for (let i = 0; i < 3; i++) assert.equal(await statusOf('/mine', '127.0.0.1', forged), 401)
    assert.equal(await statusOf('/mine', '127.0.0.1', forged), 429)
    assert.equal(await statusOf('/mine', '127.0.0.3', company()), 200)
    for (let i = 0; i < 3; i++) {
      const v6 = { ...company(), 'x-forwarded-for': `2001:db8::${i}` }
      assert.equal(await statusOf('/mine', '127.0.0.2', v6), 200)
    }
    const neighbour = { ...company(), 'x-forwarded-for': '2001:db8::ffff' }
    assert.equal(await statusOf('/mine', '127.0.0.2', neighbour), 429)
    assert.equal(
      await statusOf('/mine', '127.0.0.2', { ...company(), 'x-forwarded-for': '2001:db8:0:1::1' }),
      200,
    )
    // The auth service is never refused with what would sign a user out
    const limited = await send(`${guarded.url}/auth/token`, { headers: {} })
    assert.equal(limited.status, 503)
    assert.equal(limited.json().code, 'auth_limited')
    assert.equal(
      limited.json().type,
      'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity',
    )
    assert.ok(Number(limited.headers['retry-after']) >= 1)
  })
})
