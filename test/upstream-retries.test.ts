/** The upstream closes an idle connection just as a request goes out: sent again where that is safe, and only once. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import {
  type Answerer,
  answerWith,
  OK,
  type RecordedRequest,
  type RecordingUpstream,
  recordingUpstream,
} from './support/upstream.ts'

let gateway: GatewayProcess
let upstream: RecordingUpstream
let answer: Answerer = answerWith(OK)

before(async () => {
  upstream = await recordingUpstream(request => answer(request))
  gateway = await startConfigured(
    { routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }] },
    // Each worker has idle connections of its own: with several, a request may not meet the one that a test prepared
    { GATEWAY_WORKERS: '1' },
  )
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
})

// An upstream that recognises heads only would wait for another after a body without an empty line
const BODY = 'hello\r\n\r\n'
const send = (method: string, path: string) => {
  const length = method === 'GET' ? '' : `Content-Length: ${BODY.length}\r\n`
  const body = method === 'GET' ? '' : BODY
  return exchangeRaw(gateway.port, `${method} ${path} HTTP/1.1\r\nHost: a\r\n${length}\r\n${body}`, {
    until: wholeAnswer,
  })
}

/** Leaves one idle connection, then answers requests as told by whether they come on that connection. */
async function onIdle(idle: Answerer, fresh: Answerer): Promise<void> {
  for (const socket of upstream.sockets) {
    socket.destroy()
    await once(socket, 'close')
  }
  let used: RecordedRequest['socket'] | undefined
  answer = request => {
    used = request.socket
    request.socket.write(OK)
  }
  assert.equal((await send('GET', '/public/warm')).status, 200)
  answer = request => (request.socket === used ? idle(request) : fresh(request))
}

const seen = (path: string) => upstream.requests.filter(({ target }) => target === path)
const vanish: Answerer = ({ socket }) => void socket.resetAndDestroy()
const leave: Answerer = ({ socket }) => void socket.end()

for (const [name, gone] of [
  ['reset', vanish],
  ['closed', leave],
] as const) {
  test(`GET on an idle connection that is ${name} is sent again on a new one`, async () => {
    await onIdle(gone, answerWith(OK))
    const path = `/public/get-${name}`
    const { text } = await send('GET', path)
    assert.equal(parseAnswer(text).status, 200, text)
    assert.equal(seen(path).length, 2)
  })
  test(`POST on an idle connection that is ${name} may have been carried out: 502, not twice`, async () => {
    await onIdle(gone, answerWith(OK))
    const path = `/public/post-${name}`
    const { text } = await send('POST', path)
    assertProblem(text, [502])
    assert.equal(seen(path).length, 1)
  })
}

test('GET is sent again once, not for ever', async () => {
  await onIdle(vanish, vanish)
  assertProblem((await send('GET', '/public/once')).text, [502])
  assert.equal(seen('/public/once').length, 2)
})

test('GET is not sent again once an answer began', async () => {
  await onIdle(({ socket }) => void socket.end('HTTP/1.1 200 OK\r\nX-'), answerWith(OK))
  assertProblem((await send('GET', '/public/begun')).text, [502])
  assert.equal(seen('/public/begun').length, 1)
})

test('GET on a fresh connection is not sent again', async () => {
  for (const socket of upstream.sockets) {
    socket.destroy()
    await once(socket, 'close')
  }
  answer = vanish
  assertProblem((await send('GET', '/public/fresh')).text, [502])
  assert.equal(seen('/public/fresh').length, 1)
})

test('POST after the upstream closed its idle connection goes out on a new one', async () => {
  await onIdle(vanish, answerWith(OK))
  for (const socket of upstream.sockets) {
    socket.end()
    // The gateway's FIN: it has noticed
    await once(socket, 'close')
  }
  const { text } = await send('POST', '/public/noticed')
  assert.equal(parseAnswer(text).status, 200, text)
  assert.equal(seen('/public/noticed').length, 1)
})
