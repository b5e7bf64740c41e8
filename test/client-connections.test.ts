/**
 * When connections of clients stay open, and when they end: as asked for, or in their time where nothing happens, told
 * why only when they had begun to ask.
 */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type FramedAnswer, framedAnswers } from './support/answers.ts'
import { startConfigured } from './support/configured.ts'
import { type Connection, connectionsTo, openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream, whenWhole } from './support/http-upstream.ts'
import { assertProblem } from './support/problem.ts'

const KEEP_ALIVE = 2_000
const HEADER = 1_000
/** Timers of two processes, and their clocks, do not agree to the millisecond. */
const EARLY = 50
/** How late it may be on a busy machine. */
const LATE = 5_000

let gateway: GatewayProcess
let upstream: HttpUpstream
const { open, leave } = connectionsTo(() => gateway.port)

before(async () => {
  upstream = await httpUpstream(async request => {
    if (request.target.includes('slow')) await delay(KEEP_ALIVE + 500)
    await whenWhole(request)
  })
  gateway = await startConfigured({
    server: { headerTimeout: HEADER / 1_000, keepAliveTimeout: KEEP_ALIVE / 1_000 },
    routes: [
      { path: '/public/*', auth: 'none', upstream: upstream.url },
      { path: '/private/*', upstream: upstream.url },
    ],
  })
})

after(async () => {
  leave()
  await gateway?.stop()
  await upstream?.close()
})

const REQUEST = 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n'

const statuses = (connection: Connection): number[] => {
  const { answers, rest } = framedAnswers(connection.text())
  assert.equal(rest, '')
  return answers.map(({ status }) => status)
}

async function ask(connection: Connection, request = REQUEST): Promise<void> {
  const known = framedAnswers(connection.text()).answers.length
  connection.write(request)
  await connection.until(text => framedAnswers(text).answers.length === known + 1)
}

/** @returns milliseconds until the gateway ended the connection in order */
async function untilEnded(connection: Connection): Promise<number> {
  const started = performance.now()
  assert.equal(await connection.ended(KEEP_ALIVE + LATE), 'fin')
  return performance.now() - started
}

const within = (took: number, time: number): void =>
  assert.ok(took > time - EARLY && took < time + LATE, `after ${took.toFixed()} ms`)

/** The first `count` answers, and nothing behind them. */
async function answersOn(connection: Connection, count: number): Promise<readonly FramedAnswer[]> {
  const { answers, rest } = framedAnswers(
    await connection.until(text => framedAnswers(text).answers.length >= count),
  )
  assert.deepEqual([answers.length, rest], [count, ''])
  return answers
}

describe('after its answer a connection', () => {
  const table: [version: string, fields: string, stays: boolean][] = [
    ['1.1', '', true],
    ['1.1', 'Connection: close\r\n', false],
    ['1.1', 'connection: CLOSE\r\n', false],
    ['1.1', 'Connection: keep-alive\r\n', true],
    ['1.1', 'Connection: X-A,\tclose , keep-alive\r\n', false],
    ['1.1', 'Connection: keep-alive\r\nConnection: close\r\n', false],
    ['1.1', 'Connection: closed, not-close\r\n', true],
    ['1.1', 'Connection: ,,\r\n', true],
    ['1.1', 'Proxy-Connection: close\r\n', true],
    ['1.1', 'Connection: upgrade\r\nUpgrade: websocket\r\n', true],
    ['1.0', '', false],
    ['1.0', 'Connection: keep-alive\r\n', true],
    ['1.0', 'Connection: x, Keep-Alive\r\n', true],
    ['1.0', 'Connection: keep-alive, close\r\n', false],
    ['1.0', 'Connection: close\r\n', false],
    ['1.0', 'Proxy-Connection: keep-alive\r\n', false],
  ]
  for (const [version, fields, stays] of table) {
    for (const target of ['/health', '/public/x', '/private/x', '/nowhere']) {
      test(`is ${stays ? 'open' : 'closed'}: HTTP/${version} ${JSON.stringify(fields)} ${target}`, async () => {
        const connection = await open()
        connection.write(`GET ${target} HTTP/${version}\r\nHost: a\r\n${fields}\r\n`)
        const [answer] = await answersOn(connection, 1)
        const [said = ''] = answer!.values('connection')
        assert.equal(said, stays ? 'keep-alive' : 'close')
        if (stays) {
          connection.write(REQUEST.replace('Host', 'Connection: close\r\nHost'))
          const [, second] = await answersOn(connection, 2)
          assert.match(second!.body, /healthy/)
        }
        assert.equal(await connection.ended(), 'fin')
      })
    }
  }
})

describe('a connection', { concurrency: true }, () => {
  test('on which nothing ever comes is ended without a word', async () => {
    const connection = await open()
    within(await untilEnded(connection), HEADER)
    assert.equal(connection.text(), '')
  })

  for (const [what, bytes] of [
    ['nothing but empty lines', '\r\n\r\n'],
    ['nothing but one empty line', '\r\n'],
  ] as const) {
    test(`on which ${what} comes has not begun to ask: it is ended without a word`, async () => {
      const connection = await open()
      connection.write(bytes)
      within(await untilEnded(connection), HEADER)
      assert.equal(connection.text(), '')
    })

    test(`on which ${what} comes behind a request is idle, and ended without a word`, async () => {
      const connection = await open()
      await ask(connection, REQUEST + bytes)
      await untilEnded(connection)
      assert.deepEqual(statuses(connection), [200])
    })
  }

  for (const bytes of ['G', 'GET / HTTP/1.1\r\n', REQUEST.slice(0, -1)]) {
    test(`on which ${JSON.stringify(bytes)} came and no more is told so`, async () => {
      const connection = await open()
      connection.write(bytes)
      within(await untilEnded(connection), HEADER)
      assertProblem(connection.text(), [408])
    })

    test(`on which ${JSON.stringify(bytes)} came behind a request, and no more, is told so`, async () => {
      const connection = await open()
      await ask(connection, REQUEST + bytes)
      within(await untilEnded(connection), HEADER)
      assert.deepEqual(statuses(connection), [200, 408])
    })
  }

  test('has the whole time for a head from its first byte on, however long it was idle before', async () => {
    const connection = await open()
    await ask(connection)
    await delay(KEEP_ALIVE - 400)
    connection.write(REQUEST.slice(0, 9))
    await delay(HEADER - 400)
    await ask(connection, REQUEST.slice(9))
    assert.deepEqual(statuses(connection), [200, 200])
  })

  test('is kept for its time behind each answer, and then ended without a word', async () => {
    const connection = await open()
    for (let times = 0; times < 3; times++) {
      await ask(connection)
      await delay(KEEP_ALIVE - 500)
    }
    await ask(connection)
    within(await untilEnded(connection), KEEP_ALIVE)
    assert.deepEqual(statuses(connection), [200, 200, 200, 200])
  })

  test('is not idle while its request is answered, however long that takes', async () => {
    const connection = await open()
    await ask(connection, REQUEST.replace('/health', '/public/slow'))
    await ask(connection)
    assert.deepEqual(statuses(connection), [200, 200])
    within(await untilEnded(connection), KEEP_ALIVE)
  })

  test('says how long it is kept', async () => {
    const connection = await open()
    await ask(connection)
    assert.deepEqual(framedAnswers(connection.text()).answers[0]!.values('keep-alive'), [
      `timeout=${KEEP_ALIVE / 1_000}`,
    ])
  })
})

test('a connection that may be idle for less than a second is ended as soon', async () => {
  const own = await startConfigured({
    server: { keepAliveTimeout: 0.3 },
    routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }],
  })
  try {
    const connection = await openConnection(own.port)
    await ask(connection)
    within(await untilEnded(connection), 300)
    assert.deepEqual(statuses(connection), [200])
  } finally {
    await own.stop()
  }
})
