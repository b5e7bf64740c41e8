/** Upstreams that do not say yes to a handshake, or say it wrongly: the client is told, and there is no tunnel. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { framedAnswers } from './support/answers.ts'
import { startConfigured } from './support/configured.ts'
import { openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'
import { ACCEPT, BINARY, frame, handshake, switching, TEXT } from './support/websocket-frames.ts'

const AUTHORIZATION = { Authorization: `Bearer ${token()}` }
const FRAME = frame(BINARY, 'pipelined-bytes')
/** What no client may get to see when its handshake failed. */
const WORD = frame(TEXT, 'a word of the upstream')

const accepting = (lines: string): string => `HTTP/1.1 101 Switching Protocols\r\n${lines}\r\n`

/** By the last part of the path. `null`: no answer at all; 'cut': the end of the connection in place of one. */
const ANSWERS: Record<string, string | null> = {
  plain: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain',
  forbidden:
    'HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nX-Why: rules\r\nContent-Length: 9\r\n\r\nnot today',
  unauthorized:
    'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Custom x="y"\r\nContent-Length: 4\r\n\r\nwho?',
  missing: 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n',
  moved:
    'HTTP/1.1 307 Temporary Redirect\r\nLocation: https://elsewhere.example/ws\r\nContent-Length: 0\r\n\r\n',
  fine: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  until: 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  upgrade: 'HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 7\r\nContent-Length: 0\r\n\r\n',
  failed: 'HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops',
  'no-accept': accepting('Upgrade: websocket\r\nConnection: Upgrade\r\n'),
  'wrong-accept': accepting(
    `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT.replace('s3', 'S3')}\r\n`,
  ),
  'no-upgrade': accepting(`Connection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n`),
  'other-upgrade': accepting(`Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n`),
  'no-connection': accepting(`Upgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n`),
  garbage: 'SSH-2.0-OpenSSH_9.2p1\r\n\r\n',
  frames: `${frame(TEXT, 'no answer').toString('latin1')}\r\n\r\n`,
  cut: '',
  silent: null,
  trickle: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso',
}

let gateway: GatewayProcess
let upstream: RecordingUpstream

before(async () => {
  upstream = await recordingUpstream(({ target, head, socket }) => {
    const name = target.split('/').at(-1) ?? ''
    if (name === 'yes') return void socket.write(switching(head))
    // It believes itself connected and talks
    if (name === 'unasked') return void socket.write(Buffer.concat([Buffer.from(switching(head)), WORD]))
    const answer = ANSWERS[name]
    if (answer === '' || name === 'until') return void socket.end(answer ?? '', 'latin1')
    if (answer) socket.write(answer, 'latin1')
    if (answer?.includes(' 101 ') && name !== 'trickle') socket.write(WORD)
  })
  gateway = await startConfigured({
    client: { timeouts: { firstByte: 1.5 } },
    routes: [
      { path: '/live/*', upstream: upstream.url },
      { path: '/down', upstream: 'http://127.0.0.1:1' },
    ],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await upstream?.close()
})

const asked = (name: string): string => handshake(`/live/${name}`, AUTHORIZATION)
const plain = (name: string, more = ''): string =>
  `GET /live/${name} HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: ${AUTHORIZATION.Authorization}\r\n${more}\r\n`

/** A positive control for what follows: bytes behind a handshake do reach an upstream that accepts it. */
test('an upstream that says yes gets what came behind the handshake', async () => {
  const bytes = Buffer.concat([Buffer.from(asked('yes')), frame(BINARY, 'welcome-bytes')])
  const { status } = await exchangeRaw(gateway.port, bytes, {
    until: () => upstream.bytes().includes('welcome-bytes'),
    wait: 1_000,
  })
  assert.equal(status, 101)
  assert.ok(upstream.bytes().includes('welcome-bytes'))
})

describe('an upstream that refuses', () => {
  const refusals: [string, number, string, Record<string, string>][] = [
    ['forbidden', 403, 'not today', { 'x-why': 'rules', 'content-type': 'text/plain' }],
    ['unauthorized', 401, 'who?', { 'www-authenticate': 'Custom x="y"' }],
    ['missing', 404, '', {}],
    ['moved', 307, '', { location: 'https://elsewhere.example/ws' }],
    ['plain', 200, 'plain', {}],
    ['fine', 200, 'hello', {}],
    ['upgrade', 426, '', { 'sec-websocket-version': '7' }],
    ['failed', 500, 'oops', {}],
  ]
  for (const [name, status, body, headers] of refusals) {
    test(`with ${status} (${name}) is heard whole, and the connection goes on as HTTP or ends`, async () => {
      const connection = await openConnection(gateway.port)
      connection.write(asked(name))
      const text = await connection.until(text => framedAnswers(text).answers.length > 0)
      const answer = framedAnswers(text).answers[0]!
      assert.deepEqual([answer.status, answer.body, answer.untilClose], [status, body, false])
      for (const [field, value] of Object.entries(headers)) assert.deepEqual(answer.values(field), [value])
      assert.equal(answer.values('x-request-id').length, 1)
      assert.deepEqual(answer.values('sec-websocket-accept'), [])
      if (/\bclose\b/i.test(answer.values('connection').join())) {
        assert.equal(await connection.ended(), 'fin')
      } else {
        connection.write(plain('plain'))
        const next = await connection.until(all => all.length > text.length && all.endsWith('plain'))
        assert.equal(parseAnswer(next.slice(text.length)).status, 200)
      }
      connection.leave()
    })

    test(`with ${status} (${name}) gets none of the frames behind the handshake`, async () => {
      const bytes = Buffer.concat([Buffer.from(asked(name)), FRAME, Buffer.from('\r\n\r\n')])
      const { end, text } = await exchangeRaw(gateway.port, bytes)
      assert.equal(parseAnswer(text).status, status)
      assert.notEqual(end, 'open', text)
      assert.ok(!upstream.bytes().includes('pipelined-bytes'))
    })
  }

  test('and ends its connection is heard whole', async () => {
    const connection = await openConnection(gateway.port)
    connection.write(asked('until'))
    const text = await connection.until(text => text.includes('until the end'))
    assert.equal(parseAnswer(text).status, 200)
    connection.leave()
  })

  test('gets a request behind the refused handshake only as a request, past the guards', async () => {
    const connection = await openConnection(gateway.port)
    const unguarded = 'GET /live/plain?smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n'
    connection.write(asked('forbidden') + unguarded)
    await connection.until(text => text.includes('Not authenticated'))
    assert.ok(!upstream.bytes().includes('smuggled'))
    connection.leave()
  })
})

describe('an upstream that says yes wrongly', () => {
  for (const name of ['no-accept', 'wrong-accept', 'no-upgrade', 'other-upgrade', 'no-connection']) {
    test(`(${name}) is 502, and neither side hears the other`, async () => {
      const bytes = Buffer.concat([Buffer.from(asked(name)), FRAME, Buffer.from('\r\n\r\n')])
      const { text, end } = await exchangeRaw(gateway.port, bytes)
      assert.match(assertProblem(text, [502]).body, /"code":"upstream_malformed"/)
      assert.notEqual(end, 'open')
      assert.ok(!text.includes('a word of the upstream'))
      assert.ok(!upstream.bytes().includes('pipelined-bytes'))
    })
  }

  for (const more of ['', 'Upgrade: foo\r\nConnection: Upgrade\r\n', 'Upgrade: h2c\r\n']) {
    test(`unasked is 502 (${more.split('\r\n')[0] || 'a plain request'})`, async () => {
      const { text } = await exchangeRaw(gateway.port, plain('unasked', more), { until: wholeAnswer })
      assertProblem(text, [502])
      assert.ok(!text.includes('a word of the upstream'))
    })
  }

  test('is hung up on', async () => {
    const request = upstream.next()
    await exchangeRaw(gateway.port, asked('wrong-accept'), { until: wholeAnswer })
    const { socket } = await request
    if (!socket.destroyed) {
      const closed = new Promise(resolve => socket.once('close', resolve))
      const late = AbortSignal.timeout(5_000)
      await Promise.race([closed, new Promise((_, reject) => late.addEventListener('abort', reject))])
    }
    assert.ok(socket.destroyed)
  })
})

describe('an upstream that says nothing sensible', () => {
  const faults: [string, number, string][] = [
    ['garbage', 502, 'upstream_malformed'],
    ['frames', 502, 'upstream_malformed'],
    ['cut', 502, 'upstream_reset'],
    ['silent', 504, 'upstream_timeout'],
    ['trickle', 504, 'upstream_timeout'],
  ]
  for (const [name, status, code] of faults) {
    test(`(${name}) is ${status}`, async () => {
      const { text } = await exchangeRaw(gateway.port, asked(name), { until: wholeAnswer, wait: 8_000 })
      assert.equal(JSON.parse(assertProblem(text, [status]).body).code, code)
      // The next one is taken
      const next = await exchangeRaw(gateway.port, asked('yes'), { until: wholeAnswer })
      assert.equal(next.status, 101)
    })
  }

  test('because it is not there is 503', async () => {
    const { text } = await exchangeRaw(gateway.port, handshake('/down', AUTHORIZATION), {
      until: wholeAnswer,
    })
    assert.match(assertProblem(text, [503]).body, /"code":"upstream_unreachable"/)
  })

  test('is let go when its client leaves before the answer', async () => {
    const request = upstream.next()
    const connection = await openConnection(gateway.port)
    connection.write(asked('silent'))
    const { socket } = await request
    const closed = new Promise(resolve => socket.once('close', resolve))
    connection.leave()
    await closed
    const line = await gateway.logged(
      ({ path, outcome }) => path === '/live/silent' && outcome === 'client_gone',
    )
    assert.equal(line.code, 'client_gone')
  })
})
