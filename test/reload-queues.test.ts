/** Fair queues over reloads: who waits goes on waiting, and all workers obey what the new configuration says. */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { GatewayOptions } from '../src/config/schema.ts'
import { type Answer, bearer, send } from './support/client.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { type ReloadingGateway, startReloading } from './support/reloading.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'

type FairQueue = NonNullable<NonNullable<GatewayOptions['upstreams']>[string]['fairQueue']>

const AUTHORIZATION = bearer(token(claims()))

async function started(context: TestContext, fairQueue?: FairQueue) {
  // A service that answers nothing by itself
  const upstream = await httpUpstream(() => {})
  context.after(() => upstream.close())
  const configOf = (queue?: FairQueue): GatewayOptions => ({
    upstreams: { service: { url: upstream.url, ...(queue === undefined ? {} : { fairQueue: queue }) } },
    routes: [{ path: '/*', upstream: 'service' }],
  })
  const gateway = await startReloading(configOf(fairQueue))
  context.after(() => gateway.stop('SIGKILL'))
  return { gateway, upstream, configOf }
}

const row = async ({ adminUrl }: ReloadingGateway) => (await send(`${adminUrl}/upstreams`)).json()[0]
/** Each on a connection of its own, so that several workers are asked. */
const ask = ({ url }: ReloadingGateway, count: number): Promise<Answer>[] =>
  Array.from({ length: count }, (_, i) => send(`${url}/${i}`, { headers: AUTHORIZATION }))

function answerAll({ requests }: HttpUpstream): void {
  for (const { response } of requests) if (!response.writableEnded) response.end('done')
}

test('an upstream that gets a fair queue has one for all workers together', async context => {
  const { gateway, upstream, configOf } = await started(context)
  const outcome = await gateway.reload(configOf({ concurrency: 3, queueTimeout: 30 }))
  assert.equal(outcome.event, 'Configuration reloaded')
  const answers = ask(gateway, 12)
  await until('nine wait', async () => (await row(gateway))?.waiting === 9)
  await until('three are there', () => upstream.requests.length >= 3)
  assert.equal(upstream.requests.length, 3)
  const answering = setInterval(() => answerAll(upstream), 20)
  context.after(() => clearInterval(answering))
  assert.deepEqual(new Set((await Promise.all(answers)).map(({ status }) => status)), new Set([200]))
})

test('who waits gets its turn under the new settings', async context => {
  const { gateway, upstream, configOf } = await started(context, { concurrency: 1, queueTimeout: 30 })
  const answers = ask(gateway, 6)
  await until('five wait', async () => (await row(gateway)).waiting === 5)
  await gateway.reload(configOf({ concurrency: 4, queueTimeout: 30 }))
  await until('three more are there', () => upstream.requests.length === 4)
  assert.deepEqual(await row(gateway), {
    name: 'service',
    limit: 4,
    in_use: 4,
    lent: 0,
    waiting: 2,
    refused: 0,
  })
  const answering = setInterval(() => answerAll(upstream), 20)
  context.after(() => clearInterval(answering))
  assert.deepEqual(new Set((await Promise.all(answers)).map(({ status }) => status)), new Set([200]))
  await until('all slots are free', async () => (await row(gateway)).in_use === 0)
})

test('a reload that fails changes no queue', async context => {
  const { gateway, upstream, configOf } = await started(context, { concurrency: 1, queueTimeout: 30 })
  const answers = ask(gateway, 2)
  await until('one waits', async () => (await row(gateway)).waiting === 1)
  const outcome = await gateway.reload({ ...configOf({ concurrency: 9 }), nonsense: true })
  assert.match(String(outcome.event), /^Configuration not reloaded/)
  assert.equal((await row(gateway)).limit, 1)
  await until('one is there', () => upstream.requests.length >= 1)
  assert.equal(upstream.requests.length, 1)
  const answering = setInterval(() => answerAll(upstream), 20)
  context.after(() => clearInterval(answering))
  await Promise.all(answers)
})

test('without its fair queue an upstream gets all there are, and who waited is served', async context => {
  const { gateway, upstream, configOf } = await started(context, { concurrency: 1, queueTimeout: 30 })
  const answers = ask(gateway, 3)
  await until('two wait', async () => (await row(gateway)).waiting === 2)
  await gateway.reload(configOf())
  const later = ask(gateway, 3)
  await until('three more are there', () => upstream.requests.length >= 4)
  const answering = setInterval(() => answerAll(upstream), 20)
  context.after(() => clearInterval(answering))
  const all = await Promise.all([...answers, ...later])
  assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([200]))
})

test('an upstream that is gone is told of until its requests have ended', async context => {
  const { gateway, upstream, configOf } = await started(context, { concurrency: 1, queueTimeout: 30 })
  const answers = ask(gateway, 2)
  await until('one waits', async () => (await row(gateway)).waiting === 1)
  await gateway.reload(configOf())
  const { in_use, waiting } = await row(gateway)
  assert.deepEqual({ in_use, waiting }, { in_use: 1, waiting: 1 })
  const answering = setInterval(() => answerAll(upstream), 20)
  context.after(() => clearInterval(answering))
  await Promise.all(answers)
  await until('it is told of no longer', async () => (await row(gateway)) === undefined)
})

test('an upstream that gets its fair queue back counts what it was given before', async context => {
  const queue = { concurrency: 1, queueTimeout: 30 }
  const { gateway, upstream, configOf } = await started(context, queue)
  const first = ask(gateway, 2)
  await until('one waits', async () => (await row(gateway)).waiting === 1)
  await gateway.reload(configOf())
  await gateway.reload(configOf(queue))
  const later = ask(gateway, 2)
  await until('three wait', async () => (await row(gateway)).waiting === 3)
  assert.equal(upstream.requests.length, 1)
  for (let count = 1; count <= 4; count++) {
    await until('the next is there', () => upstream.requests.length === count)
    upstream.requests[count - 1]!.response.end('done')
  }
  const all = await Promise.all([...first, ...later])
  assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([200]))
  assert.equal((await (await send(`${gateway.adminUrl}/upstreams`)).json()).length, 1)
})
