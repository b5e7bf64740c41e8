/** TLS at the front door: which versions and protocols are spoken, and how certificates come and go. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import net, { type AddressInfo } from 'node:net'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import tls, { type ConnectionOptions, type TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { WebSocket, WebSocketServer } from 'ws'
import { type Authority, authority, needsOpenssl } from './support/certificates.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { goodbyeOf, openSession, request } from './support/http2-client.ts'
import { needs } from './support/system.ts'
import { until } from './support/until.ts'

const run = promisify(execFile)

const withoutOpenssl = await needsOpenssl()
const withoutCurl = await needs('curl', { command: '/usr/bin/curl', packages: ['curl'] })
const withoutH2load = await needs('h2load', { command: '/usr/bin/h2load', packages: ['nghttp2-client'] })

describe('over TLS', { skip: withoutOpenssl }, () => {
  let directory: ConfigDirectory
  let ca: Authority
  let upstream: HttpUpstream
  let gateway: GatewayProcess
  let port: number

  before(async () => {
    directory = configDirectory()
    ca = await authority(directory.path, 'ca')
    const pair = await ca.issue('IP:127.0.0.1,DNS:localhost')
    // As Kubernetes lays secrets out: names that lead through a link to the present version
    version('first', pair)
    symlinkSync('first', path.join(directory.path, 'now'))
    upstream = await httpUpstream(({ message, response, target }) => {
      if (target === '/up/silent') return
      if (target === '/up/stream') return void response.write('begun ')
      response.end(JSON.stringify(message.headers))
    })
    gateway = await startWith({ reload: '100ms' })
    port = Number(new URL(gateway.tlsUrl!).port)
  })
  after(async () => {
    await gateway?.stop()
    await upstream?.close()
    directory?.remove()
  })

  /** Writes a pair into a folder of its own. */
  function version(name: string, { cert, key }: { cert: string; key: string }): void {
    const folder = path.join(directory.path, name)
    mkdirSync(folder)
    writeFileSync(path.join(folder, 'tls.crt'), cert)
    writeFileSync(path.join(folder, 'tls.key'), key)
  }

  function startWith(
    settings: Record<string, unknown>,
    server: Record<string, unknown> = {},
    routes: readonly Record<string, unknown>[] = [],
  ): Promise<GatewayProcess> {
    const config = directory.write(`${Object.keys(settings).join('-')}.config.json`, {
      server: {
        headerTimeout: '1s',
        ...server,
        tls: {
          cert: path.join(directory.path, 'now/tls.crt'),
          key: path.join(directory.path, 'now/tls.key'),
          port: 0,
          ...settings,
        },
      },
      routes: [
        ...routes,
        { path: '/hello', auth: 'none', respond: { body: 'hello' } },
        { path: '/up/*', auth: 'none', upstream: upstream.url },
      ],
    })
    return startGateway({ args: ['--config', config] })
  }

  /** A connection whose handshake is done; rejects when there is none. */
  async function connect(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    await once(socket, 'secureConnect')
    socket.on('error', () => {})
    return socket
  }

  /** Serial number of the certificate that a new connection is shown. */
  async function serial(): Promise<string> {
    const socket = await connect()
    const { serialNumber } = socket.getPeerCertificate()
    socket.destroy()
    return serialNumber
  }

  test('the plain port goes on as before', async () => {
    assert.equal(await (await fetch(`${gateway.url}/hello`)).text(), 'hello')
  })

  for (const [offered, chosen] of [
    [['h2', 'http/1.1'], 'h2'],
    [['http/1.1', 'h2'], 'h2'],
    [['http/1.1'], 'http/1.1'],
    [undefined, false],
  ] as const) {
    test(`a client that offers ${offered?.join(' and ') ?? 'no protocol'} gets ${chosen || 'HTTP/1.1'}`, async () => {
      const socket = await connect(offered === undefined ? {} : { ALPNProtocols: [...offered] })
      assert.equal(socket.alpnProtocol, chosen)
      if (chosen !== 'h2') {
        socket.write('GET /hello HTTP/1.1\r\nHost: a.test\r\n\r\n')
        const [bytes] = (await once(socket, 'data')) as [Buffer]
        assert.match(bytes.toString(), /^HTTP\/1\.1 200 OK\r\n/)
      }
      socket.destroy()
    })
  }

  test('a client with another protocol gets no connection', async () => {
    await assert.rejects(connect({ ALPNProtocols: ['spdy/3'] }))
  })

  test('TLS 1.3 and 1.2 are spoken, 1.1 is not', async () => {
    for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
      const socket = await connect({ minVersion: version, maxVersion: version })
      assert.equal(socket.getProtocol(), version)
      socket.destroy()
    }
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
    await assert.rejects(connect(old), /alert protocol version|unsupported protocol/)
  })

  test('minVersion TLSv1.3 refuses 1.2', async () => {
    const strict = await startWith({ minVersion: 'TLSv1.3' })
    const at = { port: Number(new URL(strict.tlsUrl!).port) }
    await assert.rejects(connect({ ...at, maxVersion: 'TLSv1.2' }), /alert protocol version/)
    ;(await connect(at)).destroy()
    await strict.stop()
  })

  test('the upstream is told of https, over either version', async () => {
    const session = await openSession(gateway.tlsUrl!)
    const second = JSON.parse((await request(session, { ':path': '/up/x' })).text)
    session.destroy()
    const first = JSON.parse(await get('/up/x'))
    for (const headers of [first, second]) {
      assert.equal(headers['x-forwarded-proto'], 'https')
      assert.equal(headers['x-forwarded-host'], `127.0.0.1:${port}`)
      assert.match(headers.forwarded, /proto=https/)
    }
  })

  function get(target: string, agent?: https.Agent): Promise<string> {
    return new Promise((resolve, reject) => {
      const options = { rejectUnauthorized: false, ...(agent === undefined ? {} : { agent }) }
      https
        .get(`${gateway.tlsUrl}${target}`, options, response => {
          let text = ''
          response.setEncoding('utf8').on('data', more => {
            text += more
          })
          response.on('end', () => resolve(text)).on('error', reject)
        })
        .on('error', reject)
    })
  }

  test('HTTP/1.1 over TLS takes pipelined requests, and ends with its client', async () => {
    const socket = await connect()
    let text = ''
    socket.setEncoding('latin1').on('data', more => {
      text += more
    })
    socket.write('GET /hello HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20))
    await until('all answers', () => text.split('HTTP/1.1 200 OK').length === 21)
    socket.end()
    await once(socket, 'close')
  })

  test('an answer that breaks off over TLS does not look whole', async () => {
    const answered = get('/up/stream')
    const { response } = await upstream.request('/up/stream')
    response.socket?.end()
    response.socket?.destroySoon()
    await assert.rejects(answered, /aborted|socket hang up|ECONNRESET/)
  })

  test('handshakes that fail or never come harm nobody', async () => {
    const silent = net.connect(port, '127.0.0.1')
    const garbage = Array.from({ length: 50 }, () => net.connect(port, '127.0.0.1'))
    const closed = [silent, ...garbage].map(socket => {
      socket.on('error', () => {})
      socket.resume()
      return new Promise(resolve => socket.once('close', resolve))
    })
    for (const socket of garbage) socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    assert.equal(await get('/hello'), 'hello')
    await Promise.all(closed)
    assert.deepEqual(
      gateway.log.filter(({ event }) => event === 'Uncaught exception'),
      [],
    )
  })

  test('a WebSocket passes over TLS, and ends with either side', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await once(server, 'listening')
    server.on('connection', socket => {
      socket.on('message', data => {
        if (String(data) === 'leave') socket.close(4000, 'as asked')
        else socket.send(data)
      })
    })
    const { port: at } = server.address() as AddressInfo
    const echo = await startWith({ reload: '2m' }, {}, [
      { path: '/ws', auth: 'none', upstream: `http://127.0.0.1:${at}` },
    ])
    const open = async (): Promise<WebSocket> => {
      const socket = new WebSocket(`${echo.tlsUrl!.replace('https', 'wss')}/ws`, {
        rejectUnauthorized: false,
      })
      await once(socket, 'open')
      return socket
    }
    const large = randomBytes(1_000_000)
    const first = await open()
    first.send(large)
    const [echoed] = (await once(first, 'message')) as [Buffer]
    assert.ok(echoed.equals(large))
    first.send('leave')
    const [code, reason] = await once(first, 'close')
    assert.deepEqual([code, String(reason)], [4000, 'as asked'])
    const second = await open()
    const gone = once([...server.clients][0]!, 'close')
    second.close(4001)
    assert.equal((await gone)[0], 4001)
    await echo.stop()
    server.close()
  })

  describe('curl', { skip: withoutCurl }, () => {
    for (const [option, version] of [
      ['--http2', '2'],
      ['--http1.1', '1.1'],
    ] as const) {
      test(`${option} gets what it asks for, under a certificate that it trusts`, async () => {
        const format = '%{http_version} %{http_code} %{ssl_verify_result}'
        const { stdout } = await run('/usr/bin/curl', [
          ...['-s', '--max-time', '10', option, '--cacert', ca.file, '-o', '/dev/null', '-w', format],
          `${gateway.tlsUrl}/hello`,
        ])
        assert.equal(stdout, `${version} 200 0`)
      })
    }

    test('--http2-prior-knowledge is answered on the plain port where that is wanted, and there only', async () => {
      const clear = await startWith({ reload: '1m' }, { http2: { cleartext: true } })
      const args = ['-s', '--max-time', '10', '--http2-prior-knowledge', '-w', ' %{http_version}']
      const { stdout } = await run('/usr/bin/curl', [...args, `${clear.url}/hello`])
      assert.equal(stdout, 'hello 2')
      await clear.stop()
      await assert.rejects(run('/usr/bin/curl', [...args, `${gateway.url}/hello`]))
    })
  })

  test('h2load gets every answer', { skip: withoutH2load }, async () => {
    const { stdout } = await run('/usr/bin/h2load', ['-n5000', '-c4', '-m25', `${gateway.tlsUrl}/hello`])
    assert.match(stdout, /5000 succeeded, 0 failed, 0 errored, 0 timeout/)
    assert.match(stdout, /status codes: 5000 2xx/)
  })

  test('on the way down running streams end, new ones are refused, and the process too', async () => {
    const going = await startWith({ reload: '1h' }, { drainTimeout: '10s' })
    const session = await openSession(going.tlsUrl!)
    const idle = await openSession(going.tlsUrl!)
    const stream = request(session, { ':path': '/up/silent' })
    const { response } = await upstream.request('/up/silent')
    const farewell = goodbyeOf(session)
    const stopped = going.stop()
    assert.equal(await goodbyeOf(idle), 0)
    response.end('late')
    assert.equal((await stream).text, 'late')
    assert.equal(await farewell, 0)
    assert.equal(await stopped, 0)
  })

  describe('certificates', () => {
    test('that are replaced are shown to new connections, and no other is dropped', async () => {
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 })
      assert.equal(await get('/hello', agent), 'hello')
      const session = await openSession(gateway.tlsUrl!)
      const stream = session.request({ ':path': '/up/stream' })
      const [first] = (await once(stream, 'data')) as [Buffer]
      const { response } = upstream.requests.findLast(({ target }) => target === '/up/stream')!
      const before = await serial()

      version('second', await ca.issue('IP:127.0.0.1'))
      swap('second')
      await until('the new one is shown', async () => (await serial()) !== before)
      await gateway.logged(({ event }) => event === 'Certificate replaced')

      response.end('ended')
      let text = first.toString()
      for await (const chunk of stream) text += chunk
      assert.equal(text, 'begun ended')
      assert.equal(await get('/hello', agent), 'hello')
      assert.equal((await request(session, { ':path': '/hello' })).text, 'hello')
      session.destroy()
      agent.destroy()
    })

    test('that do not fit their key are not taken, which is said once', async () => {
      const [one, other] = await Promise.all([ca.issue('IP:127.0.0.1'), ca.issue('IP:127.0.0.1')])
      const before = await serial()
      version('wrong', { cert: one.cert, key: other.key })
      swap('wrong')
      const unusable = ({ event }: Record<string, unknown>): boolean =>
        event === 'New certificate cannot be served: the old one stays'
      const told = await gateway.logged(unusable)
      assert.match(String(told.reason), /does not belong to the certificate/)
      assert.equal(await serial(), before)
      version('third', one)
      swap('third')
      await until('the right one is shown', async () => (await serial()) !== before)
      assert.equal(gateway.log.filter(unusable).length, 1)
    })

    /** As Kubernetes does it: another link takes the place of the first in one step. */
    function swap(to: string): void {
      const link = path.join(directory.path, 'next')
      symlinkSync(to, link)
      renameSync(link, path.join(directory.path, 'now'))
    }

    const at = (name: string): string => path.join(directory.path, name)
    for (const [what, make, place, message] of [
      [
        'a file that is not there',
        () => ({ cert: at('absent'), key: at('absent') }),
        'cert',
        /cannot be read/,
      ],
      [
        'no certificate',
        () => ({ cert: directory.write('x.pem', 'x'), key: at('now/tls.key') }),
        'cert',
        /no certificate/,
      ],
      ['no key', () => ({ cert: at('now/tls.crt'), key: at('now/tls.crt') }), 'key', /no private key/],
      [
        'a key of another certificate',
        () => ({ cert: ca.file, key: at('now/tls.key') }),
        'key',
        /does not belong/,
      ],
    ] as const) {
      test(`with ${what} the gateway does not start, and says what to do`, async () => {
        const config = directory.write('bad.config.json', { server: { tls: make() } })
        const { code, stderr } = await runCommand(['check', '--config', config])
        assert.equal(code, 78)
        assert.match(stderr, new RegExp(`server\\.tls\\.${place}`))
        assert.match(stderr, message)
      })
    }

    test('that have expired are served with a warning', async () => {
      const [cert, key, asked] = [at('old.pem'), at('now/tls.key'), at('old.csr')]
      await run('/usr/bin/openssl', ['req', '-new', '-key', key, '-subj', '/CN=old', '-out', asked])
      const sign = ['x509', '-req', '-in', asked, '-signkey', key, '-days', '-1', '-out', cert]
      await run('/usr/bin/openssl', sign)
      const config = directory.write('old.config.json', { server: { tls: { cert, key } } })
      const { code, stderr } = await runCommand(['check', '--config', config])
      assert.equal(code, 0)
      assert.match(stderr, /warning: server\.tls\.cert expired on 20/)
    })

    test('come from the environment, too', async () => {
      const env = {
        GATEWAY_TLS_CERT: at('now/tls.crt'),
        GATEWAY_TLS_KEY: at('now/tls.key'),
        GATEWAY_TLS_PORT: '0',
        GATEWAY_HTTP2_CLEARTEXT: 'true',
      }
      const told = await startGateway({ env })
      for (const url of [told.tlsUrl!, told.url]) {
        const session = await openSession(url)
        assert.equal((await request(session, { ':path': '/health' })).status, 200)
        session.destroy()
      }
      await told.stop()
      const { code, stderr } = await runCommand(['check'], { env: { ...env, GATEWAY_TLS_KEY: undefined } })
      assert.equal(code, 78)
      assert.match(stderr, /server\.tls\.key.* is missing/)
    })

    test('on the plain port are a mistake that is told', async () => {
      const pair = { cert: at('now/tls.crt'), key: at('now/tls.key') }
      const config = directory.write('same.config.json', { server: { port: 8443, tls: pair } })
      const { code, stderr } = await runCommand(['check', '--config', config], { env: { PORT: undefined } })
      assert.equal(code, 78)
      assert.match(stderr, /server\.tls\.port.* is the plain port as well/)
    })
  })
})
