/** WebSockets and event streams before the server that the services really run on: uvicorn and FastAPI, from Debian. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { bearer, open, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { claims, expiringSoon, token } from './support/token.ts'
import { until } from './support/until.ts'
import { needsUvicornWithWebSockets, startUvicorn, type Uvicorn } from './support/uvicorn.ts'
import { connect, refusal } from './support/websocket.ts'

const PREFIX = '/api/v1/query'
const skip = await needsUvicornWithWebSockets()

describe('a FastAPI service under uvicorn', { skip }, () => {
  let uvicorn: Uvicorn
  let gateway: GatewayProcess

  before(async () => {
    uvicorn = await startUvicorn('streams')
    gateway = await startGateway({
      env: { GATEWAY_QUERY_SERVICE_URL: uvicorn.url, GATEWAY_JWT_LEEWAY: '0', GATEWAY_ADMIN_PORT: '0' },
    })
  })
  after(async () => {
    await gateway?.stop('SIGKILL')
    await uvicorn?.stop()
  })

  const url = (path: string): string => gateway.url + PREFIX + path
  /** How the service saw the end of what has that name. */
  const endOf = async (name: string): Promise<unknown> =>
    (await send(`${uvicorn.url}${PREFIX}/end/${name}`)).json().end
  const shortToken = (): string => token(claims({ exp: expiringSoon() }))
  const revoke = async (session: string): Promise<void> => {
    const { status } = await send(`${gateway.adminUrl}/revocations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ session_id: session }),
    })
    assert.equal(status, 204)
  }

  describe('with a WebSocket', () => {
    test('hears and says texts and bytes, under the identity of the token', async () => {
      const client = await connect(url('/echo?q=1'), { headers: { 'X-Company-ID': 'globex' } })
      const greeting = JSON.parse((await client.received(1))[0]!.data.toString())
      assert.deepEqual(greeting['x-company-id'], ['acme'])
      assert.deepEqual(greeting['x-user-id'], ['7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11'])
      assert.equal(greeting.query, 'q=1')
      const bytes = randomBytes(900_000)
      client.socket.send('¿qué tal?')
      client.socket.send(bytes)
      const [, text, binary] = await client.received(3)
      assert.deepEqual([text?.data.toString(), text?.binary], ['¿qué tal?', false])
      assert.ok(binary?.binary && binary.data.equals(bytes))
      client.socket.close(1000)
      assert.equal((await client.closed()).code, 1000)
    })

    test('chooses the subprotocol', async () => {
      const client = await connect(url('/echo'), { protocols: ['chat.v1', 'chat.v2'] })
      assert.equal(client.socket.protocol, 'chat.v2')
      assert.deepEqual(JSON.parse((await client.received(1))[0]!.data.toString()).offered, [
        'chat.v1',
        'chat.v2',
      ])
      client.socket.close()
    })

    test('speaks compressed, as its library offers', async () => {
      const client = await connect(url('/echo'), { perMessageDeflate: true })
      assert.match(client.socket.extensions, /^permessage-deflate/)
      client.socket.send('a'.repeat(100_000))
      assert.equal((await client.received(2))[1]?.data.toString(), 'a'.repeat(100_000))
      client.socket.close()
    })

    test('may leave with a code of its own', async () => {
      const client = await connect(url('/leave'))
      assert.equal((await client.received(1))[0]?.data.toString(), 'goodbye')
      assert.equal((await client.closed()).code, 4100)
    })

    test('may refuse', async () => {
      assert.equal((await refusal(url('/refuse'))).status, 403)
    })

    test('is not asked without a token', async () => {
      const { status, body } = await refusal(url('/echo'), { token: null })
      assert.equal(status, 401)
      assert.equal(JSON.parse(body).detail, 'Not authenticated')
    })

    test('notices that its client closed, and how', async () => {
      const client = await connect(url('/wait/closed'))
      client.socket.close(4002, 'enough')
      assert.equal(await endOf('closed'), 4002)
    })

    test('notices that its client is gone', async () => {
      const client = await connect(url('/wait/gone'))
      client.socket.terminate()
      assert.equal(await endOf('gone'), 1006)
    })

    test('sees 4401 when the token has expired', async () => {
      const client = await connect(url('/wait/expired'), { token: shortToken() })
      assert.equal((await client.closed()).code, 4401)
      assert.equal(await endOf('expired'), 4401)
    })

    test('sees 4401 when the session is signed out', async () => {
      const client = await connect(url('/wait/revoked'), { token: token(claims({ session_id: 'ws' })) })
      await revoke('ws')
      assert.equal((await client.closed()).code, 4401)
      assert.equal(await endOf('revoked'), 4401)
    })
  })

  describe('with an event stream', () => {
    /** An event stream whose text is collected as it comes. */
    async function listen(name: string, headers: Record<string, string> = bearer(token())) {
      const { request, answered } = open(url(`/events/${name}`), { headers, within: 20_000 })
      request.on('error', () => {})
      request.end()
      const response = await answered
      let text = ''
      let end: 'whole' | 'broken' | undefined
      response.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      response.on('error', () => {})
      response.on('close', () => {
        end = response.complete ? 'whole' : 'broken'
      })
      return {
        response,
        text: () => text,
        heard: (expected: string) => until(`hearing ${expected}`, () => text.endsWith(expected)),
        ended: () => until('the end of the stream', () => end),
        leave: () => request.destroy(),
      }
    }

    const emit = async (name: string, text: string): Promise<void> => {
      const { status } = await send(`${uvicorn.url}${PREFIX}/emit/${name}`, { method: 'POST', body: text })
      assert.equal(status, 200)
    }

    test('is heard event by event: the next is made only when the last has been heard', async () => {
      const stream = await listen('one-by-one')
      const { headers } = stream.response
      assert.match(String(headers['content-type']), /^text\/event-stream/)
      assert.equal(headers['content-encoding'], undefined)
      let expected = 'data: from the start\n\n'
      await stream.heard(expected)
      // Half an event is as much a chunk as a whole one
      for (const part of ['id: 1\ndata: one\n\n', 'data: ha', 'lf\n\n', ': comment\n\n', 'data: ñandú\n\n']) {
        await emit('one-by-one', part)
        expected += part
        await stream.heard(part)
      }
      await emit('one-by-one', '')
      assert.equal(await stream.ended(), 'whole')
      assert.equal(stream.text(), expected)
    })

    test('is heard soon', async () => {
      const stream = await listen('soon')
      await stream.heard('data: from the start\n\n')
      const times: number[] = []
      for (let number = 0; number < 20; number++) {
        const chunk = new Promise(resolve => stream.response.once('data', resolve))
        const started = performance.now()
        await emit('soon', `data: ${number}\n\n`)
        await chunk
        times.push(performance.now() - started)
      }
      stream.leave()
      times.sort((a, b) => a - b)
      // A whole request to uvicorn lies within that, on a machine that does other things, too
      assert.ok(times[10]! < 250, `${times[10]} ms in the median`)
    })

    test('gets the id from which to go on', async () => {
      const stream = await listen('resumed', { ...bearer(token()), 'Last-Event-ID': '41' })
      await stream.heard('data: 41\n\n')
      stream.leave()
    })

    test('stops when its client leaves', async () => {
      const stream = await listen('left')
      await stream.heard('\n\n')
      stream.leave()
      assert.equal(await endOf('left'), 'cancelled')
      const line = await gateway.logged(({ path }) => path === `${PREFIX}/events/left`)
      assert.equal(line.outcome, 'client_gone')
    })

    test('ends when the token has expired', async () => {
      const stream = await listen('expired-events', bearer(shortToken()))
      await stream.heard('\n\n')
      await stream.ended()
      assert.equal(await endOf('expired-events'), 'cancelled')
      const line = await gateway.logged(({ path }) => path === `${PREFIX}/events/expired-events`)
      assert.equal(line.ended, 'token_expired')
    })

    test('ends when the session is signed out', async () => {
      const stream = await listen('revoked-events', bearer(token(claims({ session_id: 'events' }))))
      const other = await listen('kept-events')
      await stream.heard('\n\n')
      await revoke('events')
      await stream.ended()
      assert.equal(await endOf('revoked-events'), 'cancelled')
      await emit('kept-events', 'data: still here\n\n')
      await other.heard('data: still here\n\n')
      other.leave()
    })
  })

  test('hears 1001 on both when the gateway stops, which ends with 0', async () => {
    const other = await startGateway({
      env: { GATEWAY_QUERY_SERVICE_URL: uvicorn.url, GATEWAY_DRAIN_TIMEOUT: '2' },
    })
    const client = await connect(`${other.url}${PREFIX}/wait/stopped`)
    const { request, answered } = open(`${other.url}${PREFIX}/events/stopped-events`, {
      headers: bearer(token()),
    })
    request.end()
    const response = await answered
    response.on('error', () => {}).resume()
    const over = new Promise(resolve => response.once('close', resolve))
    assert.equal(await other.stop('SIGTERM'), 0)
    assert.equal((await client.closed()).code, 1001)
    assert.equal(await endOf('stopped'), 1001)
    await over
    assert.equal(await endOf('stopped-events'), 'cancelled')
  })
})
