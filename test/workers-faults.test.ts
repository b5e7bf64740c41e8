/** Workers that die, and the end of those that do not. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { send } from './support/client.ts'
import { configDirectory } from './support/config.ts'
import { type Connection, openConnection } from './support/connection.ts'
import { startGateway } from './support/gateway.ts'
import { httpUpstream, type ReceivedRequest } from './support/http-upstream.ts'
import { exchangeRaw } from './support/raw.ts'
import { until } from './support/until.ts'
import { ask, placedConnections, startWorkers, type WorkersGateway, workersOf } from './support/workers.ts'

async function started(context: TestContext, env: Record<string, string> = {}): Promise<WorkersGateway> {
  const gateway = await startWorkers(env)
  context.after(() => gateway.child.kill('SIGKILL'))
  return gateway
}

const DEATH = 'Worker died: another takes its place'

for (const [path, env, exitCode] of [
  ['/exit', {}, 7],
  // A heap that is quickly full
  ['/fill', { NODE_OPTIONS: '--max-old-space-size=96' }, 1],
] as const) {
  test(`a worker that dies by ${path} loses only its own exchanges`, async context => {
    const gateway = await started(context, env)
    const placed = await placedConnections(gateway.port, 2)
    const [victims, others] = [...placed.values()]
    const [killer, bystander] = victims!
    killer!.connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    // While it dies and after, the others' connections answer as if nothing had happened
    let asked = 0
    const dead = gateway.logged(({ event }) => event === DEATH)
    let isDead = false
    void dead.then(() => {
      isDead = true
    })
    while (!isDead || asked < 20) {
      for (const { connection, thread } of others!) {
        const { status, body } = await ask(connection, '/who')
        assert.deepEqual([status, body], [200, thread])
        asked++
      }
    }
    const death = await dead
    assert.equal(death.exit_code, exitCode)
    assert.equal(death.level, 'error')
    for (const { connection } of [killer!, bystander!]) assert.notEqual(await connection.ended(), 'open')
    const rows = await until('it is replaced', async () => {
      const rows = await workersOf(gateway)
      return rows.every(({ state }) => state === 'ready') && rows
    })
    assert.deepEqual(rows.map(({ restarts }) => restarts).sort(), [0, 1])
    assert.equal((await send(`${gateway.url}/ready`)).status, 200)
    const again = await placedConnections(gateway.port, 1)
    assert.ok(![...again.keys()].includes(killer!.thread), 'a new thread serves')
    assert.equal(await gateway.stop(), 0)
  })
}

test('a worker that comes later runs the configuration that the others run', async context => {
  const directory = configDirectory()
  context.after(() => directory.remove())
  // YAML cannot say `process.exit`: one worker is told from outside, by a file that appears
  const doom = directory.write(
    'doom.mjs',
    `import { watch } from 'node:fs'
     import { isMainThread, threadId } from 'node:worker_threads'
     const end = (_, name) => name === 'die' && process.exit(7)
     if (!isMainThread && threadId === 1) watch(${JSON.stringify(directory.path)}, end).unref()`,
  )
  const text = `routes: [{ path: /a, auth: none, respond: { body: "\${TEXT}" } }]`
  const file = directory.write('gateway.config.yaml', text)
  directory.write('.env', 'TEXT=as it was')
  const gateway = await startGateway({
    args: ['--config', file],
    cwd: directory.path,
    env: { GATEWAY_WORKERS: '2', GATEWAY_ADMIN_PORT: '0', NODE_OPTIONS: `--import=${doom}` },
  })
  context.after(() => gateway.child.kill('SIGKILL'))
  directory.write('gateway.config.yaml', text.replace('/a', '/b'))
  directory.write('.env', 'TEXT=as it is')
  directory.write('die', '')
  await gateway.logged(({ event }) => event === DEATH)
  await until('it is replaced', async () =>
    (await workersOf(gateway)).every(({ state, connections }) => state === 'ready' && connections === 0),
  )
  const answers = await Promise.all(Array.from({ length: 30 }, () => send(`${gateway.url}/a`)))
  assert.deepEqual(new Set(answers.map(({ text }) => text)), new Set(['as it was']))
  const served = await until('all are counted', async () => {
    const requests = (await workersOf(gateway)).map(({ requests }) => requests)
    return requests[0]! + requests[1]! === 30 && requests
  })
  assert.ok(Math.min(...served) > 0, 'both answered some')
  assert.equal(await gateway.stop(), 0)
})

test('a config module that changed since is told of', async context => {
  const gateway = await started(context)
  const file = `${gateway.directory.path}/gateway.config.ts`
  writeFileSync(file, `${readFileSync(file, 'utf8')}\n// edited`)
  await exchangeRaw(gateway.port, 'GET /exit HTTP/1.1\r\nHost: a\r\n\r\n')
  const warning = await gateway.logged(({ event }) => String(event).startsWith('The config file has changed'))
  assert.equal(warning.level, 'warning')
  assert.equal(await gateway.stop(), 0)
})

test('a config module that no longer loads keeps the others serving', async context => {
  const gateway = await started(context)
  writeFileSync(`${gateway.directory.path}/gateway.config.ts`, 'export default { routes: 5 }')
  await exchangeRaw(gateway.port, 'GET /exit HTTP/1.1\r\nHost: a\r\n\r\n')
  const again = await gateway.logged(({ event, exit_code: code }) => event === DEATH && code === 1)
  assert.match(String(again.error), /routes/)
  assert.equal((await send(`${gateway.url}/who`)).status, 200)
  assert.equal(await gateway.stop(), 0)
})

/** Exchanges under way in both workers. */
async function heldInBoth(context: TestContext, env: Record<string, string> = {}) {
  const held: ReceivedRequest[] = []
  const upstream = await httpUpstream(request => {
    request.response.write('first;')
    held.push(request)
  })
  context.after(() => upstream.close())
  const gateway = await started(context, { HELD_URL: upstream.url, ...env })
  const placed = [...(await placedConnections(gateway.port, 2)).values()].flat()
  for (const { connection } of placed) connection.write('GET /held/x HTTP/1.1\r\nHost: a\r\n\r\n')
  await Promise.all(placed.map(({ connection }) => connection.until(text => text.includes('first;'))))
  return { gateway, held, connections: placed.map(({ connection }) => connection) }
}

/** Its exit code and signal, once all of its log is here as well. */
const whenOver = ({ child }: WorkersGateway): Promise<unknown[]> => once(child, 'close')

test('SIGTERM lets the streams of all workers finish', async context => {
  const { gateway, held, connections } = await heldInBoth(context)
  const exited = whenOver(gateway)
  gateway.child.kill('SIGTERM')
  await refused(gateway.port)
  for (const { response } of held) response.end('last')
  for (const connection of connections) {
    await connection.until(text => text.includes('last') && text.endsWith('0\r\n\r\n'))
    assert.equal(await connection.ended(), 'fin')
  }
  assert.deepEqual(await exited, [0, null])
  assert.equal(gateway.log.filter(({ event }) => event === 'Gateway draining').length, 1)
  assert.equal(gateway.log.at(-1)?.event, 'Gateway stopped')
  assert.equal(
    gateway.log.filter(({ path, outcome }) => path === '/held/x' && outcome === 'answered').length,
    connections.length,
  )
})

test('SIGTERM cuts the streams of all workers when the time is up', async context => {
  const { gateway, connections } = await heldInBoth(context, { GATEWAY_DRAIN_TIMEOUT: '1' })
  const exited = whenOver(gateway)
  gateway.child.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
  for (const connection of connections) assert.notEqual(await connection.ended(), 'open')
  assert.equal(gateway.log.filter(({ event }) => String(event).startsWith('Drain time is over')).length, 1)
})

test('a second signal does not wait, and what was logged is written', async context => {
  const { gateway, connections } = await heldInBoth(context)
  const exited = whenOver(gateway)
  gateway.child.kill('SIGTERM')
  await refused(gateway.port)
  gateway.child.kill('SIGTERM')
  assert.deepEqual(await exited, [1, null])
  for (const connection of connections) assert.notEqual(await connection.ended(), 'open')
  assert.ok(gateway.log.some(({ event }) => event === 'Gateway draining'))
})

test('a worker that is stuck is ended with the drain time', async context => {
  const gateway = await started(context, { GATEWAY_DRAIN_TIMEOUT: '1' })
  const connection: Connection = await openConnection(gateway.port)
  connection.write('GET /spin HTTP/1.1\r\nHost: a\r\n\r\n')
  const exited = whenOver(gateway)
  await until(
    'one does not answer',
    async () =>
      (await exchangeRaw(gateway.port, 'GET /who HTTP/1.1\r\nHost: a\r\n\r\n', { wait: 300 })).text === '',
  )
  gateway.child.kill('SIGTERM')
  assert.deepEqual(await exited, [0, null])
  assert.notEqual(await connection.ended(), 'open')
})

async function refused(port: number): Promise<void> {
  await until('no new connection is taken', async () => {
    const { end, text } = await exchangeRaw(port, 'GET /who HTTP/1.1\r\nHost: a\r\n\r\n', { wait: 1_000 })
    return end === 'reset' && text === ''
  })
}

test('a worker whose loop hangs is replaced, and the others serve meanwhile', async context => {
  const gateway = await started(context)
  const placed = await placedConnections(gateway.port, 1)
  const [victim, other] = [...placed.values()].map(([first]) => first!)
  victim!.connection.write('GET /spin HTTP/1.1\r\nHost: a\r\n\r\n')
  const death = await gateway.logged(({ event }) => event === DEATH)
  assert.match(String(death.error), /did not respond/)
  assert.equal((await ask(other!.connection, '/who')).status, 200)
  await until('it is replaced', async () =>
    (await workersOf(gateway)).every(({ state }) => state === 'ready'),
  )
  assert.equal(await gateway.stop(), 0)
})

test('a process that stands still as a whole, and goes on, loses none of its workers', async context => {
  const gateway = await started(context)
  const [one, other] = [...(await placedConnections(gateway.port, 1)).values()].map(([first]) => first!)
  gateway.child.kill('SIGSTOP')
  // Longer than a loop may hang
  await delay(12_000)
  gateway.child.kill('SIGCONT')
  for (const { connection, thread } of [one!, other!])
    assert.equal((await ask(connection, '/who')).body, thread)
  // Two looks of the supervisor later
  await delay(2_500)
  assert.deepEqual(
    (await workersOf(gateway)).map(({ restarts }) => restarts),
    [0, 0],
  )
  assert.equal(await gateway.stop(), 0)
})
