/** Upstreams over TLS: spoken to only when their certificate holds, and never over a weaker substitute. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { authority, needsOpenssl } from './support/certificates.ts'
import { type Answer, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { type Service, service } from './support/service.ts'

const skip = await needsOpenssl()

describe('an upstream over TLS', { skip }, () => {
  let directory: ConfigDirectory
  const services: Service[] = []
  let gateway: GatewayProcess
  let requests = 0

  before(async () => {
    directory = configDirectory()
    const [ours, theirs] = await Promise.all([
      authority(directory.path, 'ours'),
      authority(directory.path, 'theirs'),
    ])
    const certificates = await Promise.all([
      ours.issue('IP:127.0.0.1,DNS:localhost'),
      ours.issue('DNS:elsewhere.example'),
      theirs.issue('IP:127.0.0.1'),
    ])
    for (const certificate of certificates) {
      services.push(
        await service((request, response) => {
          requests++
          const hash = createHash('sha256')
          request.on('data', chunk => hash.update(chunk))
          request.on('end', () => response.end(hash.digest('hex')))
        }, certificate),
      )
    }
    const [right, wrongName, wrongAuthority] = services as [Service, Service, Service]
    const plainBehindTls = await service((_, response) => void response.end('plain'))
    services.push(plainBehindTls)
    const upstream = (url: string) => ({ url, ca: ours.file })
    const config = directory.write('gateway.config.json', {
      routes: [
        { path: '/right', auth: 'none', upstream: upstream(right.url) },
        { path: '/by-name', auth: 'none', upstream: upstream(right.url.replace('127.0.0.1', 'localhost')) },
        { path: '/no-ca', auth: 'none', upstream: right.url },
        { path: '/wrong-name', auth: 'none', upstream: upstream(wrongName.url) },
        { path: '/wrong-authority', auth: 'none', upstream: upstream(wrongAuthority.url) },
        { path: '/no-tls', auth: 'none', upstream: upstream(plainBehindTls.url.replace('http:', 'https:')) },
      ],
    })
    gateway = await startGateway({ args: ['--config', config] })
  })
  after(async () => {
    await gateway?.stop()
    await Promise.all(services.map(own => own.close()))
    directory?.remove()
  })

  for (const path of ['/right', '/by-name']) {
    test(`is reached at ${path} with the authority that signed it`, async () => {
      const body = randomBytes(3_000_000)
      const answers = await Promise.all(
        Array.from({ length: 3 }, () => send(gateway.url + path, { method: 'POST', body })),
      )
      const expected = createHash('sha256').update(body).digest('hex')
      for (const answer of answers) {
        assert.equal(answer.status, 200)
        assert.equal(answer.text, expected)
      }
    })
  }

  for (const path of ['/no-ca', '/wrong-name', '/wrong-authority', '/no-tls']) {
    test(`is refused at ${path}, and no request is sent`, async () => {
      const before = requests
      const answer: Answer = await send(gateway.url + path, { method: 'POST', body: 'confidential' })
      assert.equal(answer.status, 503)
      assert.equal(answer.json().detail, 'Upstream service unavailable.')
      assert.ok(!answer.text.includes('127.0.0.1'))
      assert.equal(requests, before)
    })
  }

  test('with an authority file that is missing or holds none keeps the gateway from starting', async () => {
    const empty = directory.write('empty.pem', 'no certificate here\n')
    for (const ca of [`${directory.path}/absent.pem`, empty]) {
      const config = directory.write('bad.config.json', {
        routes: [{ path: '/x', auth: 'none', upstream: { url: 'https://127.0.0.1:1', ca } }],
      })
      const { code, stderr, stdout } = await runCommand(['check', '--config', config])
      assert.equal(code, 78)
      assert.match(stdout + stderr, /routes.*ca|\.pem/)
    }
  })
})
