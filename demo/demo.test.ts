import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { commandBelow, needsCurl, paste, startDemo, untilReady } from './demo-process.ts'

const skip = await needsCurl()

describe('npm run demo', { timeout: 60_000 }, () => {
  let demo: ChildProcess
  let screen = ''
  before(async () => {
    demo = startDemo(0)
    screen = await untilReady(demo)
  })
  after(() => demo.kill('SIGKILL'))

  it('prints where the gateway and its services are', async () => {
    assert.deepEqual([...places().keys()], ['page', 'gateway', 'ingest', 'query', 'auth'])
    const paths: Record<string, string> = { page: '/', auth: '/health', gateway: '/health' }
    for (const [name, url] of places()) {
      const { status } = await fetch(url + (paths[name] ?? `/api/v1/${name}/nothing`))
      assert.ok(status < 500, `${name} answers ${status}`)
    }
    assert.ok(!screen.includes('\u001b'), 'no colours into a pipe')
  })

  it('is reached from this machine only', async () => {
    for (const url of places().values()) {
      // Another address of the loopback: whoever listens on every address answers here as well.
      const elsewhere = fetch(url.replace(/127\.0\.0\.1|localhost/, '127.0.0.2'))
      await assert.rejects(elsewhere, ({ cause }) => cause.code === 'ECONNREFUSED')
    }
  })

  it('prints a line for each company that streams its answer', { skip }, async () => {
    const acme = await pasted('acme asks')
    assert.match(acme, /^event: token\ndata: \{"text":"You "\}/)
    assert.match(acme, /event: done\ndata: \{"company_id":"acme","tokens":\d+\}\n\n$/)
    assert.match(await pasted('globex asks'), /event: done\ndata: \{"company_id":"globex",/)
  })

  it('prints an upload that is measured and hashed', { skip }, async () => {
    const answer = JSON.parse(await pasted('acme uploads'))
    assert.equal(answer.size, 20_000_000)
    assert.match(answer.sha256, /^[0-9a-f]{64}$/)
    assert.equal(answer.company_id, 'acme')
  })

  it('prints what is refused: no token, and no company', { skip }, async () => {
    assert.match(await pasted('no token'), /^HTTP\/1\.1 401 .*"detail":"Not authenticated"/s)
    assert.match(
      await pasted('without a company'),
      /^HTTP\/1\.1 403 .*"detail":"User authenticated, but company/s,
    )
  })

  it('prints how a ticket opens a stream, which comes with ids', { skip }, async () => {
    assert.match(await pasted('a ticket opens'), /^retry: \d+\n\nid: \d+\nevent: tick\n/)
  })

  it('prints a load that shows that a company which asks too much harms no other', async () => {
    const printed = await paste(`${commandBelow(screen, 'twice what the query service can do')} 3`)
    const [, all = ''] = /^ +all +(.+)$/m.exec(printed) ?? []
    const figures = all.match(/\d+(?= ms)|\d+/g)?.map(Number) ?? []
    assert.equal(figures.length, 8, printed)
    const [acme, globex] = [figures.slice(0, 4), figures.slice(4)].map(
      ([answered, overPlan, overShare, p99]) => ({
        answered,
        refused: overPlan! + overShare!,
        overPlan,
        p99,
      }),
    )
    assert.ok(acme!.answered! >= 10, printed)
    assert.equal(acme!.refused, 0, printed)
    assert.ok(globex!.answered! > 50 && globex!.overPlan! > 0, printed)
    assert.ok(acme!.p99! < globex!.p99!, printed)
  })

  it('prints how to sign in', { skip }, async () => {
    assert.equal(typeof JSON.parse(await pasted('a fresh token')).access_token, 'string')
  })

  it('names the documentation that the gateway serves', async () => {
    const address = /documentation at (\S+)/.exec(screen)?.[1] ?? ''
    const docs = await fetch(address)
    assert.equal(docs.status, 200)
    assert.match(docs.headers.get('content-type') ?? '', /^text\/html/)
  })

  it('says that a port is taken and what to do', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    for (const name of ['PORT', 'DEMO_PAGE_PORT']) {
      const taken = name === 'PORT' ? startDemo(port) : startDemo(0, port)
      const [said, [code]] = await Promise.all([text(taken.stderr!), once(taken, 'close')])
      assert.equal(code, 1)
      assert.equal(said.trim(), `Port ${port} is taken. Choose another one: ${name}=${port + 1} npm run demo`)
    }
    other.close()
  })

  it('serves the page, which loads nothing from strangers', async () => {
    const page = places().get('page')!
    const answer = await fetch(page)
    const policy = answer.headers.get('content-security-policy') ?? ''
    assert.ok(policy.includes(`connect-src 'self' ${places().get('gateway')} `), policy)
    const files = [...(await answer.text()).matchAll(/(?:src|href)="([^"]+)"/g)].map(([, file = '']) => file)
    assert.deepEqual(files, ['data:,', 'page.css', 'supabase.js', 'page.js'])
    for (const file of files.slice(1)) assert.equal((await fetch(`${page}/${file}`)).status, 200, file)
    const { gateway } = (await (await fetch(`${page}/settings.json`)).json()) as { gateway: string }
    assert.equal(gateway, places().get('gateway'))
    for (const path of ['/../demo.ts', '/%2e%2e/demo.ts', '/toString', '/page.js/']) {
      assert.equal((await fetch(page + path)).status, 404, path)
    }
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends all of it on ${signal}, whatever still runs, and twice is as good as once`, async () => {
      const ending = startDemo(0)
      try {
        screen = await untilReady(ending)
        const [, token] = /'Authorization: Bearer ([^']+)'/.exec(screen) ?? []
        const answer = await fetch(`${places().get('gateway')}/api/v1/query/ask?q=Still+there`, {
          headers: { Authorization: `Bearer ${token}` },
        })
        const closed = once(ending, 'close')
        ending.kill(signal)
        await assert.rejects(answer.text(), 'the answer breaks, it does not end as if whole')
        ending.kill(signal)
        assert.deepEqual(await closed, [0, null])
        for (const url of places().values()) {
          await assert.rejects(fetch(url), ({ cause }) => cause.code === 'ECONNREFUSED')
        }
      } finally {
        ending.kill('SIGKILL')
      }
    })
  }

  function places(): Map<string, string> {
    return new Map(
      [...screen.matchAll(/^ {2}(\w+) +(http:\S+)/gm)].map(([, name = '', url = '']) => [name, url]),
    )
  }

  function pasted(words: string): Promise<string> {
    return paste(commandBelow(screen, words))
  }
})
