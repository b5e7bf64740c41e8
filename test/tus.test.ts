/** Resumable uploads: `tus-js-client` through the gateway to `@tus/server`, with the paths of either side. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { FileStore } from '@tus/file-store'
import { EVENTS, Server, type ServerOptions } from '@tus/server'
import { Upload } from 'tus-js-client'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type Relay, relayTo } from './support/relay.ts'
import { token } from './support/token.ts'

const MB = 1_000_000
const ORIGIN = 'https://app.example.com'
const EXPOSED = ['Location', 'Tus-Resumable', 'Tus-Version', 'Tus-Extension', 'Tus-Max-Size']
const EXPOSED_FOR_TUS = [...EXPOSED, 'Upload-Offset', 'Upload-Length', 'Upload-Metadata', 'Upload-Expires']

interface TusService {
  readonly url: string
  readonly server: Server
  /** Every request so far, `METHOD /target`. */
  readonly requests: string[]
  close(): Promise<void>
}

let directory: string
const services: TusService[] = []
let gateway: GatewayProcess
let relay: Relay
/** Serves `/files`. */
let files: TusService

async function tusService(options: Partial<ServerOptions> & { path: string }): Promise<TusService> {
  const server = new Server({
    datastore: new FileStore({ directory }),
    postReceiveInterval: 20,
    ...options,
  })
  const requests: string[] = []
  const listener = http.createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    // Its own uploads that are cut end in an error, too
    server.handle(request, response).catch(() => response.destroy())
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const service: TusService = {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    server,
    requests,
    async close() {
      listener.closeAllConnections()
      listener.close()
      await once(listener, 'close')
    },
  }
  services.push(service)
  return service
}

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'nyro-gateway-tus-'))
  files = await tusService({ path: '/files' })
  const forwarded = await tusService({ path: '/files', respectForwardedHeaders: true })
  const relative = await tusService({ path: '/files', relativeLocation: true })
  const prefixed = await tusService({
    path: '/files',
    respectForwardedHeaders: true,
    generateUrl: (request, { proto, host, path, id }) =>
      `${proto}://${host}${request.headers.get('x-forwarded-prefix') ?? ''}${path}/${id}`,
  })
  const whole = await tusService({ path: '/api/whole/files' })
  gateway = await startConfigured({
    cors: { origins: [ORIGIN], exposeHeaders: EXPOSED_FOR_TUS },
    routes: [
      { path: '/api/own/*', upstream: files.url, stripPrefix: '/api/own' },
      { path: '/api/forwarded/*', upstream: forwarded.url, stripPrefix: '/api/forwarded' },
      { path: '/api/relative/*', upstream: relative.url, stripPrefix: '/api/relative' },
      { path: '/api/prefixed/*', upstream: prefixed.url, stripPrefix: '/api/prefixed' },
      { path: '/api/whole/*', upstream: whole.url },
      { path: '/uploads/*', upstream: files.url, rewrite: '/files/*' },
      { path: '/base/*', upstream: `${files.url}/files`, stripPrefix: '/base' },
    ],
  })
  relay = await relayTo(gateway.port)
})

after(async () => {
  await relay?.close()
  await gateway?.stop()
  for (const service of services) await service.close()
  await rm(directory, { recursive: true, force: true })
})

/** The service takes bytes of an upload. */
function received(service: TusService): Promise<unknown> {
  return once(service.server, EVENTS.POST_RECEIVE, { signal: AbortSignal.timeout(10_000) })
}

interface Uploaded {
  readonly url: string
  /** `Upload-Offset` of each answer to HEAD. */
  readonly resumedAt: number[]
}

function upload(content: Buffer, endpoint: string, options: object = {}): Promise<Uploaded> {
  const resumedAt: number[] = []
  return new Promise((resolve, reject) => {
    const upload = new Upload(content, {
      endpoint,
      headers: bearer(token()),
      metadata: { filename: 'report.bin' },
      retryDelays: [50, 200, 1_000],
      onAfterResponse: (request, response) => {
        if (request.getMethod() === 'HEAD') resumedAt.push(Number(response.getHeader('Upload-Offset')))
      },
      onSuccess: () => resolve({ url: upload.url ?? '', resumedAt }),
      onError: reject,
      ...options,
    })
    upload.start()
  })
}

async function stored(url: string): Promise<string> {
  return digest(await readFile(path.join(directory, path.basename(url))))
}

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex')
}

describe('an upload in pieces arrives', () => {
  for (const [name, endpoint] of [
    ['with the address that the service sees', '/api/own/files'],
    ['with the address that X-Forwarded-Host says', '/api/forwarded/files'],
    ['with a path only', '/api/relative/files'],
    ['with X-Forwarded-Prefix heeded', '/api/prefixed/files'],
    ['without a stripped prefix', '/api/whole/files'],
    ['with a rewritten path', '/uploads'],
    ['with a base path of the upstream', '/base/'],
  ] as const) {
    test(name, async () => {
      const content = randomBytes(3 * MB)
      const { url } = await upload(content, gateway.url + endpoint, { chunkSize: MB })
      assert.ok(url.startsWith(`${gateway.url}${endpoint.replace(/\/$/, '')}/`), url)
      assert.equal(await stored(url), digest(content))
    })
  }
})

describe('a connection that is cut in the middle', () => {
  test('costs what was on its way, and the upload goes on from there', async () => {
    const content = randomBytes(16 * MB)
    const before = relay.sent()
    const held = relay.holdAfter(6 * MB)
    const arrived = received(files)
    const uploading = upload(content, `http://127.0.0.1:${relay.port}/api/own/files`)
    await Promise.all([held, arrived])
    relay.cut()
    const { url, resumedAt } = await uploading
    assert.equal(resumedAt.length, 1, `resumed at ${resumedAt}`)
    const [offset = 0] = resumedAt
    assert.ok(offset > 0 && offset <= 7 * MB, `resumed at ${offset}`)
    assert.ok(relay.sent() - before < 24 * MB, 'much was sent twice')
    assert.equal(await stored(url), digest(content))
  })

  test('is made good by another client that knows the address', async () => {
    const content = randomBytes(8 * MB)
    const held = relay.holdAfter(3 * MB)
    const arrived = received(files)
    let url = ''
    const broken = upload(content, `http://127.0.0.1:${relay.port}/uploads`, {
      retryDelays: null,
      // The address arrives with the answer to the POST, long before the cut
      onAfterResponse: (_: unknown, response: { getHeader(name: string): string | undefined }) => {
        url ||= response.getHeader('Location') ?? ''
      },
    })
    const failed = assert.rejects(broken)
    await Promise.all([held, arrived])
    relay.cut()
    await failed
    const uploadUrl = new URL(url, gateway.url).href
    const again = await upload(content, '', { endpoint: null, uploadUrl })
    assert.ok((again.resumedAt[0] ?? 0) > 0, `resumed at ${again.resumedAt}`)
    assert.equal(await stored(uploadUrl), digest(content))
  })
})

describe('the protocol passes as it is', () => {
  const tus = { ...bearer(token()), 'Tus-Resumable': '1.0.0' }

  test('discovery by OPTIONS reaches the service', async () => {
    const answer = await send(`${gateway.url}/api/own/files`, { method: 'OPTIONS', headers: bearer(token()) })
    assert.equal(answer.status, 204)
    assert.match(answer.headers['tus-extension'] as string, /\bcreation\b/)
  })

  test('a wrong offset is the conflict that the service says it is', async () => {
    const headers = { ...tus, 'Upload-Length': '10' }
    const created = await send(`${gateway.url}/api/own/files`, { method: 'POST', headers })
    const patched = await send(new URL(created.headers.location!, gateway.url).href, {
      method: 'PATCH',
      headers: { ...tus, 'Upload-Offset': '5', 'Content-Type': 'application/offset+octet-stream' },
      body: 'x',
    })
    assert.deepEqual([created.status, patched.status], [201, 409])
  })

  test('an upload that is given up is removed', async () => {
    const { url } = await upload(randomBytes(1_000), `${gateway.url}/api/own/files`)
    assert.equal((await send(url, { method: 'DELETE', headers: tus })).status, 204)
    assert.ok([404, 410].includes((await send(url, { method: 'HEAD', headers: tus })).status))
  })

  test('without a token nothing reaches the service', async () => {
    const seen = files.requests.length
    await assert.rejects(
      upload(randomBytes(10), `${gateway.url}/api/own/files`, { headers: {}, retryDelays: null }),
      /response code: 401/,
    )
    assert.equal(files.requests.length, seen)
  })
})

describe('a page of another origin', () => {
  const origin = { Origin: ORIGIN }

  test('may send the fields of the protocol', async () => {
    const asked = 'authorization,tus-resumable,upload-length,upload-metadata,upload-offset,content-type'
    const { status, headers } = await send(`${gateway.url}/api/own/files`, {
      method: 'OPTIONS',
      headers: {
        ...origin,
        'Access-Control-Request-Method': 'PATCH',
        'Access-Control-Request-Headers': asked,
      },
    })
    assert.equal(status, 204)
    assert.deepEqual(headers['access-control-allow-headers']?.split(', '), asked.split(','))
    assert.match(headers['access-control-allow-methods'] ?? '', /\bPATCH\b/)
  })

  test('may read what the protocol answers, once', async () => {
    const created = await send(`${gateway.url}/api/own/files`, {
      method: 'POST',
      headers: { ...origin, ...bearer(token()), 'Tus-Resumable': '1.0.0', 'Upload-Length': '10' },
    })
    assert.equal(created.status, 201)
    const [exposed = '', ...more] = created.values('access-control-expose-headers')
    assert.deepEqual(more, [])
    const readable = exposed.toLowerCase().split(', ')
    for (const name of EXPOSED_FOR_TUS) assert.ok(readable.includes(name.toLowerCase()), name)
    assert.deepEqual(created.values('access-control-allow-origin'), [ORIGIN])
  })
})
