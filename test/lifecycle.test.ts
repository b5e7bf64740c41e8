/** From start to end: health and readiness, the admin port, and stopping without breaking anyone's exchange. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import net from 'node:net'
import { networkInterfaces } from 'node:os'
import { after, before, describe, test } from 'node:test'
import { bearer, open, send } from './support/client.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { type Service, service } from './support/service.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'

const signedIn = bearer(token())

let backend: Service
/** Streams that wait for their next piece. */
const streams: http.ServerResponse[] = []

before(async () => {
  backend = await service((_, response) => {
    response.write('first;')
    streams.push(response)
  })
})

after(async () => {
  // Those of tests that failed halfway
  for (const { child } of started) child.kill('SIGKILL')
  await backend?.close()
})

const started: GatewayProcess[] = []

async function start(env: Record<string, string | undefined> = {}): Promise<GatewayProcess> {
  const gateway = await startGateway({ env: { GATEWAY_INGEST_SERVICE_URL: backend.url, ...env } })
  started.push(gateway)
  return gateway
}

/** A stream through the gateway whose first piece has arrived. */
async function streaming(gateway: GatewayProcess) {
  const { request, answered } = open(`${gateway.url}/api/v1/ingest/stream`, { headers: signedIn })
  request.end()
  const response = await answered
  const [first] = (await once(response, 'data')) as [Buffer]
  assert.equal(first.toString(), 'first;')
  let rest = ''
  response.on('data', chunk => {
    rest += chunk
  })
  const whole = new Promise<string>((resolve, reject) => {
    response.once('end', () => resolve(rest))
    response.once('error', reject)
  })
  whole.catch(() => {})
  return { whole, upstream: streams.at(-1)!, response }
}

const refusesConnections = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
  })

describe('health and readiness', () => {
  test('are answered at the front and on the admin port', async () => {
    const gateway = await start({ GATEWAY_ADMIN_PORT: '0', GATEWAY_PROJECT_NAME: 'Acme Gateway' })
    try {
      for (const base of [gateway.url, gateway.adminUrl!]) {
        const health = await send(`${base}/health`)
        assert.equal(health.status, 200)
        assert.deepEqual(health.json(), { status: 'healthy', service: 'Acme Gateway' })
        assert.equal((await send(`${base}/ready`)).status, 200)
      }
    } finally {
      await gateway.stop()
    }
  })

  test('the admin port is not the front door', async () => {
    const gateway = await start({ GATEWAY_ADMIN_PORT: '0' })
    try {
      assert.notEqual(new URL(gateway.adminUrl!).port, String(gateway.port))
      const answer = await send(`${gateway.adminUrl}/api/v1/ingest/x`, { headers: signedIn })
      assert.equal(answer.status, 404)
    } finally {
      await gateway.stop()
    }
  })

  test('the admin port listens on loopback only, unless told otherwise', async () => {
    const outside = Object.values(networkInterfaces())
      .flat()
      .find(address => address?.family === 'IPv4' && !address.internal)?.address
    const gateway = await start({ GATEWAY_ADMIN_PORT: '0', GATEWAY_HOST: '0.0.0.0' })
    try {
      assert.equal(new URL(gateway.adminUrl!).hostname, '127.0.0.1')
      if (outside === undefined) return
      assert.equal((await send(`http://${outside}:${gateway.port}/health`)).status, 200)
      await assert.rejects(send(`http://${outside}:${new URL(gateway.adminUrl!).port}/health`))
    } finally {
      await gateway.stop()
    }
  })
})

describe('stopping', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} ends an idle gateway with 0`, async () => {
      const gateway = await start()
      assert.equal(await gateway.stop(signal), 0)
    })
  }

  test('lets a stream in flight finish, refuses new connections, exits 0', async () => {
    const gateway = await start()
    const { whole, upstream } = await streaming(gateway)
    const exited = once(gateway.child, 'exit')
    gateway.child.kill('SIGTERM')
    await until('new connections are refused', () => refusesConnections(gateway.port))
    upstream.write('second;')
    upstream.end('last')
    assert.equal(await whole, 'second;last')
    assert.deepEqual(await exited, [0, null])
  })

  test('is not held up by idle connections', async () => {
    const gateway = await start()
    const sockets = await Promise.all(
      Array.from({ length: 5 }, async (_, index) => {
        const socket = net.connect(gateway.port, '127.0.0.1')
        await once(socket, 'connect')
        if (index > 1) {
          socket.write('GET /health HTTP/1.1\r\nHost: h\r\n\r\n')
          await once(socket, 'data')
        }
        return socket
      }),
    )
    const began = performance.now()
    const closed = Promise.all(sockets.map(socket => once(socket.resume(), 'close')))
    assert.equal(await gateway.stop(), 0)
    await closed
    // Far below the 25 s that exchanges in flight would get
    assert.ok(performance.now() - began < 10_000)
  })

  test('turns unready before it stops listening', async () => {
    const gateway = await start({ GATEWAY_DRAIN_DELAY: '2', GATEWAY_ADMIN_PORT: '0' })
    const exited = once(gateway.child, 'exit')
    assert.equal((await send(`${gateway.url}/ready`)).status, 200)
    gateway.child.kill('SIGTERM')
    for (const base of [gateway.url, gateway.adminUrl!]) {
      const answer = await until('unready', async () => {
        const ready = await send(`${base}/ready`)
        return ready.status === 503 && ready
      })
      assert.ok(answer)
    }
    // Still served: load balancers take a moment to notice
    assert.equal((await send(`${gateway.url}/health`)).status, 200)
    assert.deepEqual(await exited, [0, null])
  })

  test('cuts what is still running when the time is up', async () => {
    const gateway = await start({ GATEWAY_DRAIN_TIMEOUT: '1' })
    const { whole } = await streaming(gateway)
    const exited = once(gateway.child, 'exit')
    const began = performance.now()
    gateway.child.kill('SIGTERM')
    await assert.rejects(whole, 'a cut answer must not look whole')
    const [code, signal] = await exited
    const took = performance.now() - began
    assert.ok(took > 800 && took < 10_000, `${took} ms`)
    assert.equal(signal, null)
    assert.ok(code === 0 || code === 1, `exit code ${code}`)
  })

  test('a second signal does not wait', async () => {
    const gateway = await start()
    const { whole } = await streaming(gateway)
    const exited = once(gateway.child, 'exit')
    gateway.child.kill('SIGTERM')
    await until('draining', () => refusesConnections(gateway.port))
    assert.equal(gateway.child.exitCode, null)
    const began = performance.now()
    gateway.child.kill('SIGTERM')
    await exited
    await assert.rejects(whole)
    assert.ok(performance.now() - began < 10_000)
  })

  test('finishes every request that is in flight', async () => {
    const gateway = await start()
    const held = streams.length
    const answers = Array.from({ length: 20 }, () =>
      send(`${gateway.url}/api/v1/ingest/x`, { headers: signedIn }),
    )
    await until('all are at the upstream', () => streams.length === held + 20)
    const exited = once(gateway.child, 'exit')
    gateway.child.kill('SIGTERM')
    await until('draining', () => refusesConnections(gateway.port))
    for (const stream of streams.slice(held)) stream.end('last')
    for (const { status, text } of await Promise.all(answers))
      assert.equal(`${status} ${text}`, '200 first;last')
    assert.deepEqual(await exited, [0, null])
  })

  test('resets nobody under load who leaves when it turns unready', async () => {
    const busy = await service((_, response) => void setTimeout(() => response.end('done'), 20))
    const gateway = await start({ GATEWAY_INGEST_SERVICE_URL: busy.url, GATEWAY_DRAIN_DELAY: '3' })
    try {
      const outcomes: string[] = []
      let left = false
      const lanes = Array.from({ length: 6 }, async () => {
        while (!left) {
          const { status, text } = await send(`${gateway.url}/api/v1/ingest/x`, { headers: signedIn })
          outcomes.push(`${status} ${text}`)
        }
      })
      await until('load', () => outcomes.length > 30)
      const exited = once(gateway.child, 'exit')
      gateway.child.kill('SIGTERM')
      await until('unready', async () => (await send(`${gateway.url}/ready`)).status === 503)
      const atNotice = outcomes.length
      await until('load after the signal', () => outcomes.length > atNotice + 10)
      left = true
      await Promise.all(lanes)
      assert.deepEqual(new Set(outcomes), new Set(['200 done']))
      assert.deepEqual(await exited, [0, null])
    } finally {
      await busy.close()
    }
  })
})

describe('starting', () => {
  test('on a port in use says so and exits 1', async () => {
    const gateway = await start()
    try {
      const { code, stderr, stdout } = await runCommand(['start'], { env: { PORT: String(gateway.port) } })
      assert.equal(code, 1)
      assert.match(stderr + stdout, new RegExp(`${gateway.port}`))
      assert.match(stderr + stdout, /in use/i)
      assert.doesNotMatch(stderr + stdout, /^\s+at /m)
    } finally {
      await gateway.stop()
    }
  })

  test('on an admin port in use says so and exits 1', async () => {
    const gateway = await start()
    try {
      const { code, stderr, stdout } = await runCommand(['start'], {
        env: { GATEWAY_ADMIN_PORT: String(gateway.port) },
      })
      assert.equal(code, 1)
      assert.match(stderr + stdout, /in use/i)
    } finally {
      await gateway.stop()
    }
  })
})
