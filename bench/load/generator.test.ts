import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { generate } from './generate.ts'
import type { Plan } from './plan.ts'

let server: Server
let port: number
let seen: { url: string; authorization: string | undefined }[] = []
let stallAt = Number.POSITIVE_INFINITY

before(async () => {
  server = createServer((request, answer) => {
    seen.push({ url: request.url ?? '', authorization: request.headers.authorization })
    const send = (): unknown => answer.end('ok')
    if (seen.length === stallAt) setTimeout(send, 300)
    else send()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})

after(() => server.close())

const plan = (changes: Partial<Plan>): Plan => {
  seen = []
  stallAt = Number.POSITIVE_INFINITY
  return {
    port,
    connections: 4,
    path: '/items/{n}',
    paths: 1,
    tokens: { kind: 'none' },
    first: 0,
    expected: { status: 200, body: 'ok' },
    pace: { kind: 'closed', requests: 200 },
    ...changes,
  }
}

test('a closed loop asks exactly what it was told to, each path and each token in its turn', async () => {
  const tokens = { kind: 'valid', algorithm: 'HS256', count: 50 } as const
  const outcome = await generate(plan({ tokens, paths: 20, first: 7 }))
  assert.deepEqual([outcome.requests, outcome.wrong, outcome.socketErrors], [200, 0, 0])
  assert.equal(new Set(seen.map(({ url }) => url)).size, 20)
  assert.equal(new Set(seen.map(({ authorization }) => authorization)).size, 50)
  assert.equal(seen[0]?.url, '/items/7')
})

test('a wrong answer is counted', async () => {
  const outcome = await generate(plan({ expected: { status: 200, body: 'no' } }))
  assert.equal(outcome.wrong, 200)
})

test('an open loop keeps its rate, and a stall counts for every request that it held up', async () => {
  const open = plan({ connections: 1, pace: { kind: 'open', perSecond: 500, seconds: 1, warmUp: 0 } })
  stallAt = 100
  const outcome = await generate(open)
  assert.equal(outcome.requests, 500)
  assert.ok(outcome.seconds > 0.99, `the last request left after ${outcome.seconds} s`)
  // One slow answer in 500 would leave p99 alone; the 150 requests planned during the stall do not.
  assert.ok(outcome.p99 > 250_000, `p99 is ${outcome.p99} µs`)
})

test('nobody there is an error', async () => {
  await assert.rejects(generate(plan({ port: 1 })), /ECONNREFUSED/)
})
