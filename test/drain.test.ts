/** SIGTERM under load: what is in flight is finished, nobody is reset, and the process ends with 0. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import { openConnection } from './support/connection.ts'
import { httpUpstream, type ReceivedRequest, whenWhole } from './support/http-upstream.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { until } from './support/until.ts'

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

async function drained(context: TestContext, drainTimeout: number, drainDelay = 0) {
  const held: ReceivedRequest[] = []
  const upstream = await httpUpstream(async request => {
    if (request.target.includes('held')) held.push(request)
    else await whenWhole(request)
  })
  const gateway = await startConfigured({
    server: { drainTimeout, drainDelay },
    routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }],
  })
  const ended = once(gateway.child, 'exit')
  context.after(async () => {
    gateway.child.kill('SIGKILL')
    await ended
    await upstream.close()
  })
  return { held, upstream, gateway, exitCode: async () => (await ended)[0] as number | null }
}

test('exchanges in flight are finished: answers, streams and uploads', async context => {
  const { held, upstream, gateway, exitCode } = await drained(context, 10)
  const asked = await Promise.all(Array.from({ length: 20 }, () => openConnection(gateway.port)))
  for (const connection of asked) connection.write(get('/public/held'))
  const uploading = await openConnection(gateway.port)
  uploading.write('POST /public/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello')
  const idle = await openConnection(gateway.port)
  idle.write(get('/public/idle'))
  await idle.until(wholeAnswer)
  await until('all are in flight', () => held.length === 20)
  await upstream.request('/public/upload')

  gateway.child.kill('SIGTERM')
  assert.equal(await idle.ended(), 'fin', 'an idle connection is closed at once')
  await until('no new connection is taken', async () => {
    const { end, text } = await exchangeRaw(gateway.port, get('/public/late'), { until: wholeAnswer })
    return end === 'reset' && text === ''
  })
  assert.equal(gateway.child.exitCode, null, 'it ended before what was in flight')
  for (const { response } of held) {
    response.writeHead(200, { 'content-length': '4' })
    response.write('da')
    setImmediate(() => response.end('ta'))
  }
  uploading.write('world')
  for (const connection of asked) {
    const { status, body } = parseAnswer(await connection.until(wholeAnswer))
    assert.deepEqual([status, body], [200, 'data'])
    assert.equal(await connection.ended(), 'fin')
  }
  assert.match(await uploading.until(wholeAnswer), /"text":"helloworld"/)
  assert.equal(await exitCode(), 0)
})

test('clients in a row lose no answer', async context => {
  const { gateway, exitCode } = await drained(context, 10)
  let stopping = false
  let answers = 0
  const lost: string[] = []
  const client = async (): Promise<void> => {
    for (;;) {
      const connection = await openConnection(gateway.port).catch(() => null)
      // Refused: it has stopped listening
      if (connection === null) return
      for (;;) {
        const before = connection.text().length
        connection.write(get('/public/row'))
        const whole = await connection.until(text => wholeAnswer(text.slice(before))).catch(() => null)
        if (whole === null) {
          const end = await connection.ended()
          if (!stopping || connection.text().length > before)
            lost.push(`${end}: ${connection.text().slice(before)}`)
          break
        }
        const { status, values } = parseAnswer(whole.slice(before))
        assert.equal(status, 200)
        answers++
        if (values('connection').join().toLowerCase() === 'close') break
      }
      connection.leave()
    }
  }
  const clients = Array.from({ length: 16 }, client)
  await until('the load is on', () => answers > 300)
  stopping = true
  gateway.child.kill('SIGTERM')
  await Promise.all(clients)
  assert.deepEqual(lost, [])
  assert.equal(await exitCode(), 0)
})

test('while it delays, it is unready but serves, and asks its clients to leave', async context => {
  const { gateway, exitCode } = await drained(context, 5, 2)
  assert.equal((await fetch(`${gateway.url}/ready`)).status, 200)
  gateway.child.kill('SIGTERM')
  await until('it is unready', async () => (await fetch(`${gateway.url}/ready`)).status === 503)
  assert.equal((await fetch(`${gateway.url}/health`)).status, 200)
  const { text } = await exchangeRaw(gateway.port, get('/public/late'), { until: wholeAnswer })
  assert.equal(parseAnswer(text).status, 200)
  assert.match(text, /^Connection: close\r$/im)
  assert.equal(await exitCode(), 0)
})

test('what outlasts the limit is broken off, and the process ends', async context => {
  const { held, gateway, exitCode } = await drained(context, 1)
  const connection = await openConnection(gateway.port)
  connection.write(get('/public/held'))
  await until('it is in flight', () => held.length === 1)
  const started = performance.now()
  gateway.child.kill('SIGTERM')
  const code = await exitCode()
  assert.ok(performance.now() - started < 6_000)
  assert.equal(code, 0)
  assert.notEqual(await connection.ended(), 'open')
})
