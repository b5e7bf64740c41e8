/** Server-sent events through the gateway: as they come, and no longer than their right to run. */

import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { bearer, open, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, type LogRecord, SECRET, startGateway } from './support/gateway.ts'
import { type Service, service } from './support/service.ts'
import { claims, expiringSoon, token } from './support/token.ts'

/** An answer that the test writes, by the id in the request's path. */
const answers = new Map<string, PromiseWithResolvers<http.ServerResponse>>()
const requests = new Map<string, http.IncomingMessage>()
let events: Service
let files: ConfigDirectory
let gateway: GatewayProcess
let nextId = 0

function answerOf(id: string): PromiseWithResolvers<http.ServerResponse> {
  let known = answers.get(id)
  if (known === undefined) {
    known = Promise.withResolvers()
    answers.set(id, known)
  }
  return known
}

before(async () => {
  events = await service((request, response) => {
    const id = request.url!.split('/')[2]!
    requests.set(id, request)
    answerOf(id).resolve(response)
  })
  files = configDirectory()
  const route = (name: string, eventStream: object) => ({
    path: `/${name}/*`,
    upstream: events.url,
    eventStream,
  })
  const file = files.write('gateway.json', {
    identity: { secret: SECRET, leeway: 0 },
    server: { drainTimeout: 3 },
    cors: { origins: ['https://app.example'] },
    routes: [
      { ...route('plain', {}), auth: 'optional', company: 'optional' },
      route('telling', { errorEvent: true }),
      route('beating', { heartbeat: 0.3 }),
      { ...route('short', {}), timeouts: { idle: 1.5, firstByte: 1.5 } },
    ],
  })
  gateway = await startGateway({ args: ['--config', file], env: { GATEWAY_ADMIN_PORT: '0' } })
})
after(async () => {
  await gateway.stop()
  await events.close()
  files.remove()
})

interface Stream {
  readonly id: string
  readonly answer: http.ServerResponse
  readonly response: http.IncomingMessage
  /** Everything so far. */
  text(): string
  /** The next piece, as the client's parser found it. */
  next(): Promise<string>
  /** `whole`: it ended as streams end. `broken`: it did not. */
  ended: Promise<'whole' | 'broken'>
}

interface Options {
  readonly claims?: Record<string, unknown>
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly answer?: http.OutgoingHttpHeaders
  readonly agent?: http.Agent
}

async function stream(route: string, options: Options = {}): Promise<Stream> {
  const id = `s${nextId++}`
  const { request, answered } = open(`${gateway.url}/${route}/${id}`, {
    method: options.method ?? 'GET',
    headers: { accept: 'text/event-stream', ...bearer(token(claims(options.claims))), ...options.headers },
    within: 25_000,
    ...(options.agent === undefined ? {} : { agent: options.agent }),
  })
  request.end()
  const answer = await answerOf(id).promise
  answer.writeHead(200, { 'content-type': 'text/event-stream', ...options.answer })
  answer.flushHeaders()
  const response = await answered
  const pieces: string[] = []
  let read = 0
  let wake = (): void => {}
  response.on('data', (chunk: Buffer) => {
    pieces.push(chunk.toString())
    wake()
  })
  const ended = new Promise<'whole' | 'broken'>(resolve => {
    response.on('end', () => resolve('whole'))
    response.on('error', () => resolve('broken'))
  })
  return {
    id,
    answer,
    response,
    text: () => pieces.join(''),
    async next() {
      while (read === pieces.length) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      return pieces[read++]!
    },
    ended,
  }
}

const logged = (id: string): Promise<LogRecord> =>
  gateway.logged(record => String(record.path).endsWith(`/${id}`))

const untilAfter = (exp: number, ms: number): Promise<void> => delay(exp * 1_000 + ms - Date.now())

describe('an event stream', { timeout: 60_000 }, () => {
  test('comes event by event, each before the next is sent', async () => {
    const { answer, next, ended } = await stream('plain')
    for (let i = 0; i < 20; i++) {
      answer.write(`id: ${i}\ndata: token ${i}\n\n`)
      assert.equal(await next(), `id: ${i}\ndata: token ${i}\n\n`)
    }
    answer.end()
    assert.equal(await ended, 'whole')
  })

  test('keeps the pieces apart that the upstream sent apart', async () => {
    const { answer, next } = await stream('plain')
    answer.write('data: first\n\n')
    await next()
    // One write of three chunks: `answer.cork` would make one chunk of them
    answer.socket!.cork()
    for (const piece of ['data: a\n\n', 'data: b\n\n', 'data: c\n\n']) answer.write(piece)
    answer.socket!.uncork()
    assert.deepEqual(
      [await next(), await next(), await next()],
      ['data: a\n\n', 'data: b\n\n', 'data: c\n\n'],
    )
    answer.end()
  })

  test('is not compressed, and loses what was meant for nginx', async () => {
    const { answer, response } = await stream('plain', {
      headers: { 'accept-encoding': 'gzip, br' },
      answer: { 'x-accel-buffering': 'no', 'x-accel-redirect': '/etc', 'cache-control': 'no-cache' },
    })
    assert.equal(response.headers['content-encoding'], undefined)
    assert.equal(response.headers['cache-control'], 'no-cache')
    assert.deepEqual(
      Object.keys(response.headers).filter(name => name.startsWith('x-accel')),
      [],
    )
    answer.end()
  })

  test('is told where it was left off', async () => {
    const { id, answer } = await stream('plain', { headers: { 'last-event-id': '41' } })
    assert.equal(requests.get(id)!.headers['last-event-id'], '41')
    answer.end()
  })

  test('closes the upstream request when its client leaves', async () => {
    const { id, answer, response } = await stream('plain')
    const closed = new Promise(resolve => answer.once('close', resolve))
    response.destroy()
    await closed
    assert.equal((await logged(id)).outcome, 'client_gone')
  })

  test('breaks when its upstream does', async () => {
    const { answer, next, ended } = await stream('plain')
    answer.write('data: half')
    await next()
    answer.destroy()
    assert.equal(await ended, 'broken')
  })

  test('runs for longer than an answer may take to begin, and ends when it is silent for too long', async () => {
    const { answer, next, ended, id } = await stream('short')
    const started = performance.now()
    for (let i = 0; i < 8; i++) {
      answer.write(`data: ${i}\n\n`)
      await next()
      await delay(250)
    }
    assert.ok(performance.now() - started > 1_600)
    assert.equal(await ended, 'broken')
    assert.equal((await logged(id)).code, 'upstream_timeout')
  })
})

describe('a heartbeat', { timeout: 30_000 }, () => {
  test('is a comment, sent while the upstream is silent', async () => {
    const { answer, next } = await stream('beating')
    assert.equal(await next(), ':\n', 'before the first event')
    answer.write('data: a\n\n')
    let piece = await next()
    while (piece === ':\n') piece = await next()
    assert.equal(piece, 'data: a\n\n')
    assert.equal(await next(), ':\n')
    answer.end()
  })

  test('never stands within a line', async () => {
    const { answer, next, text, ended } = await stream('beating')
    answer.write('data: begun')
    while (!text().endsWith('begun')) await next()
    await delay(900)
    assert.ok(text().endsWith('data: begun'), text())
    answer.end(' and ended\n\n')
    await ended
    assert.match(text(), /data: begun and ended\n\n$/)
  })

  test('does not end an event that has begun', async () => {
    const { answer, text, ended } = await stream('beating')
    answer.write('data: one\n')
    await delay(900)
    answer.end('data: two\n\n')
    await ended
    // One event, as a reader of event streams has it
    const lines = text()
      .split('\n')
      .filter(line => line !== ':')
    assert.deepEqual(lines, ['data: one', 'data: two', '', ''])
    assert.match(text(), /data: one\n:\n/)
  })

  test('is not put into compressed bytes', async () => {
    const { answer, text, ended } = await stream('beating', { answer: { 'content-encoding': 'gzip' } })
    await delay(900)
    answer.end(gzipSync('data: a\n\n'))
    await ended
    assert.ok(!text().includes(':\n'))
  })

  test('is not sent to routes that did not ask for any', async () => {
    const { answer, text, ended } = await stream('telling')
    await delay(900)
    answer.end('data: a\n\n')
    await ended
    assert.equal(text(), 'data: a\n\n')
  })
})

describe('the right of an event stream', { timeout: 60_000 }, () => {
  test('ends with its token: after an event that says so, where the route asked for one', async () => {
    const { id, answer, next, ended, text } = await stream('telling', { claims: { exp: expiringSoon() } })
    const closed = new Promise(resolve => answer.once('close', resolve))
    answer.write('data: a\n\n')
    await next()
    assert.equal(await ended, 'whole')
    assert.equal(
      text(),
      'data: a\n\nevent: error\ndata: {"code":"token_expired","detail":"Token has expired."}\n\n',
    )
    await closed
    const { ended: why, outcome } = await logged(id)
    assert.deepEqual([why, outcome], ['token_expired', 'answered'])
  })

  test('ends with its token: without a word on other routes', async () => {
    const { id, answer, ended, text } = await stream('plain', { claims: { exp: expiringSoon() } })
    answer.write('data: a\n\n')
    assert.equal(await ended, 'whole')
    assert.equal(text(), 'data: a\n\n')
    assert.equal((await logged(id)).ended, 'token_expired')
  })

  test('lets an event end that has begun', async () => {
    const exp = expiringSoon()
    const { answer, next, ended, text } = await stream('telling', { claims: { exp } })
    answer.write('data: beg')
    await next()
    await untilAfter(exp, 500)
    answer.write('un\n\n')
    assert.equal(await ended, 'whole')
    assert.match(text(), /^data: begun\n\nevent: error\n/)
  })

  test('ends with its token, though its client takes nothing: the upstream is let go of', async () => {
    const { answer, response } = await stream('telling', { claims: { exp: expiringSoon() } })
    response.pause()
    const closed = new Promise(resolve => answer.once('close', resolve))
    const event = `data: ${'x'.repeat(200_000)}\n\n`
    // Until all buffers are full
    for (; !answer.destroyed && answer.writableLength < 1_000_000; await delay(1)) answer.write(event)
    await closed
    response.destroy()
  })

  test('is not needed by a request that is already running: an answer to POST finishes', async () => {
    const exp = expiringSoon()
    const { answer, next, ended, text } = await stream('plain', { claims: { exp }, method: 'POST' })
    answer.write('data: a\n\n')
    await next()
    await untilAfter(exp, 500)
    answer.end('data: b\n\n')
    assert.equal(await ended, 'whole')
    assert.equal(text(), 'data: a\n\ndata: b\n\n')
  })

  for (const route of ['plain', 'telling', 'beating']) {
    test(`leaves the connection in order, whatever length the upstream said: ${route}`, async () => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const first = await stream(route, {
        claims: { exp: expiringSoon() },
        answer: { 'content-length': '1000', connection: 'keep-alive' },
        agent,
      })
      assert.equal(first.response.headers['content-length'], undefined)
      first.answer.write('data: a\n\n')
      assert.equal(await first.ended, 'whole')
      const second = await send(`${gateway.url}/health`, { agent })
      assert.equal(second.json().status, 'healthy')
      agent.destroy()
    })
  }

  for (const [what, body, code] of [
    ['its session', { session_id: 'ses-1' }, 'token_revoked'],
    ['its user', { user_id: 'user-1' }, 'token_revoked'],
    ['its company', { company_id: 'blocked-inc' }, 'company_blocked'],
  ] as const) {
    test(`ends when ${what} is revoked, and no other stream does`, async () => {
      const stranger = await stream('telling', { claims: { sub: 'somebody', session_id: 'ses-9' } })
      const mine = await stream('telling', {
        claims: {
          session_id: 'session_id' in body ? body.session_id : `ses-${code}-${what}`,
          sub: 'user_id' in body ? body.user_id : `user-${code}-${what.length}`,
          app_metadata: { company_id: 'company_id' in body ? body.company_id : 'acme' },
        },
      })
      const { status } = await send(`${gateway.adminUrl}/revocations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      assert.equal(status, 204)
      assert.equal(await mine.ended, 'whole')
      assert.match(mine.text(), new RegExp(`^event: error\\ndata: {"code":"${code}"`))
      stranger.answer.write('data: still here\n\n')
      assert.equal(await stranger.next(), 'data: still here\n\n')
      stranger.answer.end()
    })
  }
})

describe('when the gateway stops', { timeout: 30_000 }, () => {
  test('streams end one after the other, and answers that run finish', async () => {
    const streams = await Promise.all(Array.from({ length: 12 }, () => stream('telling')))
    const running = await stream('plain', { method: 'POST' })
    running.answer.write('data: a\n\n')
    const started = performance.now()
    const stopped = gateway.stop()
    const times = await Promise.all(streams.map(each => each.ended.then(() => performance.now() - started)))
    for (const each of streams) {
      assert.equal(await each.ended, 'whole')
      assert.match(each.text(), /"code":"draining"/)
    }
    assert.ok(Math.max(...times) - Math.min(...times) > 100, 'they end spread over the time')
    running.answer.end('data: b\n\n')
    assert.equal(await running.ended, 'whole')
    assert.equal(running.text(), 'data: a\n\ndata: b\n\n')
    assert.equal(await stopped, 0)
  })
})
