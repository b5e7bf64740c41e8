/** gRPC through the gateway, with the client and the server that people use. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { constants } from 'node:http2'
import { after, afterEach, before, describe, test } from 'node:test'
import {
  type ClientDuplexStream,
  type ClientReadableStream,
  Metadata,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { GatewayOptions } from '../src/config/schema.ts'
import { parseTimeout } from '../src/wire/grpc.ts'
import { block } from './support/blocks.ts'
import { authority, needsOpenssl } from './support/certificates.ts'
import { bearer } from './support/client.ts'
import { configDirectory } from './support/config.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import {
  GrpcClient,
  type GrpcServer,
  grpcServer,
  type Message,
  SERVICE,
  type Unary,
} from './support/grpc-service.ts'
import { openSession, request } from './support/http2-client.ts'
import { echo, type Http2Service, type Http2Upstream, http2Upstream } from './support/http2-upstream.ts'
import { service } from './support/service.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'

const signedIn = { metadata: bearer(token()) }

let server: GrpcServer
/** Speaks HTTP/2, and no gRPC. */
let plain: Http2Upstream
let plainService: Http2Service = echo
let gateway: GatewayProcess
let client: GrpcClient
let handlers: UntypedServiceImplementation = {}

before(async () => {
  server = await grpcServer({
    say: (call: Unary, done: sendUnaryData<Message>) => handlers.say!(call as never, done as never),
    tell: (call: ServerWritableStream<Message, Message>) => handlers.tell!(call as never, null as never),
    hear: (call: ServerReadableStream<Message, Message>, done: sendUnaryData<Message>) =>
      handlers.hear!(call as never, done as never),
    talk: (call: ServerDuplexStream<Message, Message>) => handlers.talk!(call as never, null as never),
  })
  plain = await http2Upstream(request => plainService(request))
  const upstream = (url: string) => ({ url, protocol: 'h2c' as const })
  const config: GatewayOptions = {
    server: { http2: { cleartext: true }, bodyTimeout: '1s' },
    client: { timeouts: { firstByte: '1500ms' } },
    routes: [
      { path: `/${SERVICE}/*`, upstream: upstream(server.url), bodyLimit: '4MB' },
      { path: '/nyro.test.Down/*', auth: 'none', upstream: upstream('http://127.0.0.1:1') },
      { path: '/nyro.test.Plain/*', auth: 'none', upstream: upstream(plain.url) },
    ],
  }
  gateway = await startConfigured(config, { GATEWAY_ADMIN_PORT: '0' })
  client = new GrpcClient(gateway.url)
})

afterEach(() => {
  handlers = {}
  plainService = echo
})

after(async () => {
  client?.close()
  await gateway?.stop('SIGKILL')
  server?.close()
  await plain?.close()
})

const fails = (code: status, details: RegExp) => (error: ServiceError) => {
  assert.equal(error.code, code, error.message)
  assert.match(error.details, details)
  return true
}

/** Everything that comes, and how it ended. */
async function read(call: ClientReadableStream<Message> | ClientDuplexStream<Message, Message>) {
  const messages: Message[] = []
  call.on('data', message => messages.push(message))
  call.on('error', () => {})
  const end = await new Promise<{ code: status; details: string; metadata: Metadata }>(resolve =>
    call.on('status', resolve),
  )
  return { messages, code: end.code, details: end.details }
}

describe('a call', () => {
  test('goes to the service, and its answer comes back', async () => {
    handlers.say = (({ request }: Unary, done: sendUnaryData<Message>) =>
      done(null, { text: `${request.text}, too` })) as never
    const { message, head } = await client.say({ text: 'hello' }, signedIn)
    assert.deepEqual(message, { text: 'hello, too' })
    assert.equal(head.get('x-request-id').length, 1)
  })

  test('says who is calling, whatever the caller says', async () => {
    let seen = new Metadata()
    handlers.say = ((call: Unary, done: sendUnaryData<Message>) => {
      seen = call.metadata
      done(null, { text: '' })
    }) as never
    await client.say(
      { text: '' },
      {
        metadata: { ...signedIn.metadata, 'x-company-id': 'foreign', x_user_id: 'foreign', 'x-own': 'mine' },
      },
    )
    assert.deepEqual(seen.get('x-company-id'), ['acme'])
    assert.deepEqual(seen.get('x_user_id'), [])
    assert.equal(seen.get('x-user-id').length, 1)
    assert.deepEqual(seen.get('x-own'), ['mine'])
  })

  test('carries metadata both ways, in front and behind, binary too', async () => {
    const bytes = Buffer.from([0, 1, 254, 255])
    handlers.say = ((call: Unary, done: sendUnaryData<Message>) => {
      const head = new Metadata()
      head.add('x-head', 'front')
      head.add('x-bytes-bin', call.metadata.get('x-bytes-bin')[0]!)
      call.sendMetadata(head)
      const trailers = new Metadata()
      trailers.add('x-tail', 'behind')
      trailers.add('x-tail-bin', bytes)
      done(null, { text: '' }, trailers)
    }) as never
    const { head, trailers } = await client.say(
      { text: '' },
      { metadata: { ...signedIn.metadata, 'x-bytes-bin': bytes } },
    )
    assert.deepEqual(head.get('x-head'), ['front'])
    assert.deepEqual(head.get('x-bytes-bin'), [bytes])
    assert.deepEqual(trailers.get('x-tail'), ['behind'])
    assert.deepEqual(trailers.get('x-tail-bin'), [bytes])
  })

  test('that the service refuses is refused with the same words', async () => {
    handlers.say = ((_: Unary, done: sendUnaryData<Message>) => {
      const metadata = new Metadata()
      metadata.add('x-why', 'stock')
      done({ code: status.FAILED_PRECONDITION, details: 'none left: 0 % ñ', metadata })
    }) as never
    await assert.rejects(client.say({ text: '' }, signedIn), (error: ServiceError) => {
      assert.deepEqual(error.metadata.get('x-why'), ['stock'])
      return fails(status.FAILED_PRECONDITION, /^none left: 0 % ñ$/)(error)
    })
  })

  test('takes messages of a megabyte and more', async () => {
    handlers.say = (({ request }: Unary, done: sendUnaryData<Message>) => done(null, request)) as never
    const text = 'x'.repeat(2_000_000)
    const { message } = await client.say({ text }, signedIn)
    assert.equal(message.text, text)
  })
})

describe('a stream', () => {
  test('of the service arrives message by message', async () => {
    const go = Promise.withResolvers<void>()
    handlers.tell = (async (call: ServerWritableStream<Message, Message>) => {
      call.write({ text: 'first' })
      await go.promise
      for (let count = 1; count <= call.request.count!; count++) call.write({ text: 'next', count })
      call.end()
    }) as never
    const call = client.tell({ text: '', count: 3 }, signedIn)
    const [first] = await once(call, 'data')
    assert.deepEqual(first, { text: 'first' })
    go.resolve()
    const { messages, code } = await read(call)
    assert.equal(code, status.OK)
    assert.deepEqual(
      messages.map(({ count }) => count),
      [1, 2, 3],
    )
  })

  test('of the client arrives while it is being sent, however slowly', async () => {
    const heard: string[] = []
    handlers.hear = ((call: ServerReadableStream<Message, Message>, done: sendUnaryData<Message>) => {
      call.on('data', ({ text }: Message) => heard.push(text))
      call.on('end', () => done(null, { text: heard.join(' ') }))
    }) as never
    const { message } = await client.hear(async call => {
      call.write({ text: 'one' })
      await until('the first arrived', () => heard.length === 1)
      // Longer than a body may pause and a service may take to answer, on this gateway
      await new Promise(resolve => setTimeout(resolve, 1_800))
      call.write({ text: 'two' })
      call.end()
    }, signedIn)
    assert.equal(message.text, 'one two')
  })

  test('goes both ways at once, neither waiting for the other', async () => {
    handlers.talk = ((call: ServerDuplexStream<Message, Message>) => {
      call.write({ text: 'welcome' })
      call.on('data', ({ text }: Message) => call.write({ text: `${text}!` }))
      call.on('end', () => call.end())
    }) as never
    const call = client.talk(signedIn)
    assert.deepEqual(await once(call, 'data'), [{ text: 'welcome' }])
    for (const text of ['a', 'b', 'c']) {
      call.write({ text })
      assert.deepEqual(await once(call, 'data'), [{ text: `${text}!` }])
    }
    call.end()
    assert.equal((await read(call)).code, status.OK)
  })

  test('may end before the client has said everything', async () => {
    handlers.talk = ((call: ServerDuplexStream<Message, Message>) => {
      call.once('data', () => {
        call.write({ text: 'enough' })
        call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'no more' })
      })
    }) as never
    const call = client.talk(signedIn)
    call.write({ text: 'much' })
    const { messages, code, details } = await read(call)
    assert.deepEqual(messages, [{ text: 'enough' }])
    assert.deepEqual([code, details], [status.RESOURCE_EXHAUSTED, 'no more'])
  })

  test('of a thousand messages waits for a slow reader, and all arrive in order', async () => {
    let sent = 0
    const padding = 'x'.repeat(4_000)
    handlers.tell = ((call: ServerWritableStream<Message, Message>) => {
      const more = (): void => {
        while (sent < 1_000)
          if (!call.write({ text: padding, count: sent++ })) return void call.once('drain', more)
        call.end()
      }
      more()
    }) as never
    const call = client.tell({ text: '' }, signedIn)
    let next = 0
    for await (const { count } of call as AsyncIterable<Message>) {
      assert.equal(count, next++)
      if (next === 1) {
        // Nothing is read now: what is sent on comes to a halt
        let before = -1
        await until('the service is held up', () => {
          const still = sent === before
          before = sent
          return still
        })
        assert.ok(sent < 1_000, 'all of it was taken ahead')
      }
    }
    assert.equal(next, 1_000)
  })
})

describe('a call that ends early', () => {
  test('by its deadline is cancelled at the service, which knew how long it had', async () => {
    const cancelled = Promise.withResolvers<void>()
    let left = 0
    handlers.say = ((call: Unary) => {
      left = Number(call.getDeadline()) - Date.now()
      call.on('cancelled', () => cancelled.resolve())
    }) as never
    await assert.rejects(
      client.say({ text: '' }, { ...signedIn, deadline: 1_500 }),
      fails(status.DEADLINE_EXCEEDED, /./),
    )
    await cancelled.promise
    assert.ok(left > 0 && left <= 1_500, `${left} ms left`)
  })

  test('by its deadline is ended by the gateway, though neither side looks at its clock', async () => {
    const timeouts: (string | undefined)[] = []
    const codes: number[] = []
    plainService = ({ path, stream, values }) => {
      timeouts.push(values('grpc-timeout')[0])
      stream.on('close', () => codes.push(stream.rstCode))
      if (path.endsWith('Say')) return
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
      stream.write('begun')
    }
    const session = await openSession(gateway.url)
    const call = (method: string, timeout: string) => {
      const path = `/nyro.test.Plain/${method}`
      const fields = { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': timeout }
      return request(session, { ':method': 'POST', ':path': path, ...fields }, 'a message')
    }
    try {
      const silent = await call('Say', '1200m')
      assert.equal(silent.status, 200)
      assert.equal(silent.headers['grpc-status'], String(status.DEADLINE_EXCEEDED))
      assert.equal(silent.headers['grpc-message'], 'The deadline of the call has passed.')
      assert.equal(silent.code, 0)
      const begun = await call('Tell', '1300000u')
      assert.equal(begun.text, 'begun')
      assert.equal(begun.trailers['grpc-status'], String(status.DEADLINE_EXCEEDED))
      const passed = await call('Say', '0m')
      assert.equal(passed.headers['grpc-status'], String(status.DEADLINE_EXCEEDED))
      // What is no timeout is for the service to judge; it says nothing, as long as the route lets it
      const unreadable = await call('Say', 'soon')
      assert.equal(unreadable.headers['grpc-message'], 'Upstream service timeout.')
    } finally {
      session.destroy()
    }
    const [first, second, third, ...more] = timeouts
    for (const [text, whole] of [
      [first, 1_200],
      [second, 1_300],
    ] as const) {
      const left = parseTimeout(text!)!
      assert.ok(left > 0 && left < whole, `${text} left of ${whole} ms`)
    }
    assert.deepEqual([third, more], ['soon', []])
    await until('all were cancelled', () => codes.length === 3)
    assert.deepEqual(new Set(codes), new Set([constants.NGHTTP2_CANCEL]))
    const record = await gateway.logged(({ code }) => code === 'deadline_exceeded')
    assert.equal(record.level, 'warning')
  })

  test('by its client is cancelled at the service', async () => {
    for (const waits of [true, false]) {
      const arrived = Promise.withResolvers<void>()
      const cancelled = Promise.withResolvers<void>()
      handlers.talk = ((call: ServerDuplexStream<Message, Message>) => {
        call.on('cancelled', () => cancelled.resolve())
        call.on('data', () => arrived.resolve())
        if (!waits) call.write({ text: 'begun' })
      }) as never
      const call = client.talk(signedIn)
      const end = read(call)
      call.write({ text: 'a' })
      await arrived.promise
      call.cancel()
      await cancelled.promise
      assert.equal((await end).code, status.CANCELLED)
    }
  })
})

describe('what the gateway refuses, or cannot do, is an error of gRPC', () => {
  test('a blocked user: PERMISSION_DENIED, with the reason', async () => {
    await block(gateway, { user_id: 'blocked', reason: 'Unpaid – 100 %' })
    const metadata = bearer(token(claims({ sub: 'blocked' })))
    await assert.rejects(
      client.say({ text: '' }, { metadata }),
      fails(status.PERMISSION_DENIED, /^This user is blocked\. Unpaid – 100 %$/),
    )
  })

  test('no token, or a bad one: UNAUTHENTICATED', async () => {
    await assert.rejects(client.say({ text: '' }), (error: ServiceError) => {
      assert.match(String(error.metadata.get('www-authenticate')), /^Bearer/)
      assert.equal(error.metadata.get('x-request-id').length, 1)
      return fails(status.UNAUTHENTICATED, /^Not authenticated$/)(error)
    })
    const expired = { metadata: bearer(token(claims({ exp: 1 }))) }
    await assert.rejects(
      client.say({ text: '' }, expired),
      fails(status.UNAUTHENTICATED, /^Token has expired\.$/),
    )
    const call = client.talk()
    assert.equal((await read(call)).code, status.UNAUTHENTICATED)
  })

  test('no company: PERMISSION_DENIED', async () => {
    const metadata = bearer(token(claims({ app_metadata: {} })))
    await assert.rejects(client.say({ text: '' }, { metadata }), fails(status.PERMISSION_DENIED, /company/))
  })

  test('no such service: UNIMPLEMENTED', async () => {
    await assert.rejects(
      client.say({ text: '' }, { path: '/nyro.test.Nobody/Say' }),
      fails(status.UNIMPLEMENTED, /^Not Found$/),
    )
  })

  test('a service that is down: UNAVAILABLE', async () => {
    await assert.rejects(
      client.say({ text: '' }, { path: '/nyro.test.Down/Say' }),
      fails(status.UNAVAILABLE, /^Upstream service unavailable\.$/),
    )
  })

  test('a service that does not answer: DEADLINE_EXCEEDED', async () => {
    handlers.say = (() => {}) as never
    await assert.rejects(client.say({ text: '' }, signedIn), fails(status.DEADLINE_EXCEEDED, /timeout/))
  })

  test('a message larger than the route allows: RESOURCE_EXHAUSTED', async () => {
    handlers.say = ((_: Unary, done: sendUnaryData<Message>) => done(null, { text: '' })) as never
    await assert.rejects(
      client.say({ text: 'x'.repeat(5_000_000) }, signedIn),
      fails(status.RESOURCE_EXHAUSTED, /larger than this route allows/),
    )
  })

  test('a service that breaks off in the midst of a stream: never OK', async () => {
    const own = await grpcServer({
      say: () => {},
      hear: () => {},
      talk: () => {},
      tell: ((call: ServerWritableStream<Message, Message>) => void call.write({ text: 'begun' })) as never,
    })
    const other = await startConfigured({
      server: { http2: { cleartext: true } },
      routes: [{ path: '/*', auth: 'none', upstream: { url: own.url, protocol: 'h2c' } }],
    })
    const far = new GrpcClient(other.url)
    try {
      const call = far.tell({ text: '' })
      const ended = read(call)
      await once(call, 'data')
      own.close()
      const { code, details } = await ended
      assert.notEqual(code, status.OK)
      assert.deepEqual([code, details], [status.UNAVAILABLE, 'Upstream service closed the connection.'])
    } finally {
      far.close()
      await other.stop('SIGKILL')
    }
  })

  test('what something in between says stays as it is', async () => {
    // 200, JSON, and no status of gRPC: the client makes up its own
    await assert.rejects(
      client.say({ text: '' }, { path: '/nyro.test.Plain/Say' }),
      fails(status.INTERNAL, /without gRPC status/),
    )
  })
})

const skip = await needsOpenssl()

test('over TLS on both sides, by ALPN, is the same', { skip }, async () => {
  const directory = configDirectory()
  const ours = await authority(directory.path, 'ours')
  const { cert, key } = await ours.issue('IP:127.0.0.1,DNS:localhost')
  const secure = await grpcServer(
    {
      say: (({ request }: Unary, done: sendUnaryData<Message>) => done(null, request)) as never,
      tell: () => {},
      hear: () => {},
      talk: () => {},
    },
    { cert, key },
  )
  // It has no other protocol than HTTP/1.1 to offer
  const older = await service((_, response) => void response.end('older'), { cert, key })
  const upstream = (url: string) => ({ url, protocol: 'h2' as const, ca: ours.file })
  const behind = await startConfigured({
    server: {
      tls: { cert: directory.write('cert.pem', cert), key: directory.write('key.pem', key), port: 0 },
    },
    routes: [
      { path: `/${SERVICE}/*`, upstream: upstream(secure.url) },
      { path: '/nyro.test.Older/*', auth: 'none', upstream: upstream(older.url) },
    ],
  })
  const listening = await behind.logged(({ event }) => event === 'Gateway listening')
  const caller = new GrpcClient(String(listening.tls_url), readFileSync(ours.file))
  try {
    assert.equal((await caller.say({ text: 'hello' }, signedIn)).message.text, 'hello')
    await assert.rejects(caller.say({ text: '' }), fails(status.UNAUTHENTICATED, /./))
    await assert.rejects(
      caller.say({ text: '' }, { path: '/nyro.test.Older/Say' }),
      fails(status.UNAVAILABLE, /./),
    )
    const refused = await behind.logged(({ code }) => code === 'upstream_tls')
    assert.match(String(refused.reason), /h2|ALPN|APPLICATION_PROTOCOL/)
  } finally {
    caller.close()
    await behind.stop('SIGKILL')
    secure.close()
    await older.close()
    directory.remove()
  }
})
