import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { after, before, describe, it } from 'node:test'
import { startIngest } from '../demo/ingest.ts'
import { startQuery } from '../demo/query.ts'
import type { RunningService } from '../demo/service.ts'

const ana = { 'X-Company-ID': 'acme', 'X-User-ID': 'user-ana' }
const carla = { 'X-Company-ID': 'globex', 'X-User-ID': 'user-carla' }

/** What the tests read out of a JSON answer; assertions check what is there. */
// biome-ignore lint/suspicious/noExplicitAny: an answer over the wire has no type until it is checked
type Json = any

async function json(response: Response): Promise<Json> {
  return response.json()
}

describe('ingest service', () => {
  let service: RunningService
  const reports = new EventEmitter()
  before(async () => {
    service = await startIngest({ report: line => reports.emit('line', line) })
  })
  after(() => service.close())

  it('hashes a streamed upload of 64 MiB', async () => {
    const sent = createHash('sha256')
    const chunk = Buffer.alloc(64 * 1024)
    function* chunks() {
      for (let index = 0; index < 1024; index += 1) {
        chunk.writeUInt32BE(index)
        sent.update(chunk)
        yield Buffer.from(chunk)
      }
    }
    const request = httpRequest(`${service.url}/api/v1/ingest/documents/big.bin`, {
      method: 'POST',
      headers: { ...ana, 'Content-Type': 'application/pdf' },
    })
    const answered = once(request, 'response')
    await pipeline(Readable.from(chunks()), request)
    const [response] = (await answered) as [IncomingMessage]

    assert.equal(response.statusCode, 201)
    assert.deepEqual(JSON.parse(await text(response)), {
      size: 64 * 1024 * 1024,
      sha256: sent.digest('hex'),
      company_id: 'acme',
      user_id: 'user-ana',
      content_type: 'application/pdf',
    })
  })

  it('takes an empty PUT without a content type', async () => {
    const response = await fetch(`${service.url}/api/v1/ingest/empty`, { method: 'PUT', headers: ana })
    assert.equal(response.status, 201)
    assert.deepEqual(await json(response), {
      size: 0,
      sha256: createHash('sha256').digest('hex'),
      company_id: 'acme',
      user_id: 'user-ana',
      content_type: null,
    })
  })

  it('lists to a company its own uploads only, newest first', async () => {
    await upload(carla, 'first.txt', 'one')
    await upload(carla, 'second.txt', 'three')
    const acme = await documents(ana)
    const globex = await documents(carla)

    assert.equal(globex.company_id, 'globex')
    assert.deepEqual(
      globex.documents.map((document: Json) => [document.name, document.size, document.user_id]),
      [
        ['second.txt', 5, 'user-carla'],
        ['first.txt', 3, 'user-carla'],
      ],
    )
    assert.ok(acme.documents.every((document: Json) => document.user_id === 'user-ana'))
  })

  it('remembers the newest 100 uploads of a company', async () => {
    const initech = { 'X-Company-ID': 'initech', 'X-User-ID': 'user-peter' }
    for (let index = 1; index <= 103; index += 1) await upload(initech, `report-${index}`, 'x')
    const { documents: listed } = await documents(initech)
    assert.equal(listed.length, 100)
    assert.equal(listed[0].name, 'report-103')
    assert.equal(listed[99].name, 'report-4')
  })

  it('forgets an upload that broke off', async () => {
    const listed = await documents(ana)
    const request = httpRequest(`${service.url}/api/v1/ingest/broken`, {
      method: 'POST',
      headers: { ...ana, 'Content-Length': 1_000, Expect: '100-continue' },
    })
    request.on('error', () => {})
    await once(request, 'continue')
    request.write('only the beginning')
    const reported = once(reports, 'line')
    request.destroy()
    assert.match((await reported)[0], /^acme left after \d+ bytes of an upload$/)
    assert.deepEqual(await documents(ana), listed)
  })

  it('refuses a request without a company, and one with two', async () => {
    const without = await fetch(`${service.url}/api/v1/ingest/documents`)
    assert.equal(without.status, 422)
    assert.deepEqual((await json(without)).detail[0].loc, ['header', 'x-company-id'])

    const request = httpRequest(`${service.url}/api/v1/ingest/documents`, {
      headers: { 'X-Company-ID': ['acme', 'globex'], 'X-User-ID': 'user-ana' },
    }).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(response.statusCode, 422)
    response.resume()
  })

  it('answers any other path and method as FastAPI does', async () => {
    for (const [method, path] of [
      ['GET', '/'],
      ['POST', '/api/v1/ingest'],
      ['GET', '/api/v1/ingest/unknown'],
      ['DELETE', '/api/v1/ingest/documents'],
    ] as const) {
      const response = await fetch(service.url + path, { method, headers: ana })
      assert.equal(response.status, 404, `${method} ${path}`)
      assert.deepEqual(await json(response), { detail: 'Not Found' })
    }
  })

  async function upload(headers: Record<string, string>, name: string, body: string): Promise<void> {
    const response = await fetch(`${service.url}/api/v1/ingest/${name}`, { method: 'POST', headers, body })
    assert.equal(response.status, 201)
    await response.arrayBuffer()
  }

  async function documents(headers: Record<string, string>): Promise<Json> {
    return json(await fetch(`${service.url}/api/v1/ingest/documents`, { headers }))
  }
})

describe('query service', () => {
  let service: RunningService
  const reports = new EventEmitter()
  before(async () => {
    service = await startQuery({ report: line => reports.emit('line', line) })
  })
  after(() => service.close())

  it('streams an answer as one event per token, then done', async () => {
    const question = encodeURIComponent('Who may read this?')
    let ended = false
    reports.once('line', () => {
      ended = true
    })
    const response = await fetch(`${service.url}/api/v1/query/ask?q=${question}`, { headers: ana })
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)

    const events: { name: string; data: Json }[] = []
    for await (const event of eventsOf(response)) {
      if (events.length === 0) assert.equal(ended, false, 'the first token came before the answer was whole')
      events.push(event)
    }
    const done = events.pop()
    assert.equal(done?.name, 'done')
    assert.deepEqual(done?.data, { company_id: 'acme', tokens: events.length })
    assert.ok(events.length >= 20 && events.length <= 40, `${events.length} tokens`)
    assert.ok(events.every(event => event.name === 'token'))
    const answer = events.map(event => event.data.text).join('')
    assert.match(answer, /"Who may read this\?".* only acme can see them/)
  })

  it('takes the question from a JSON body and keeps a long one short', async () => {
    const response = await ask({ question: 'why '.repeat(500) })
    const names = []
    for await (const event of eventsOf(response)) names.push(event.name)
    assert.ok(names.length <= 41, `${names.length} events`)
    assert.equal(names.at(-1), 'done')
  })

  it('stops answering when the client leaves', async () => {
    const leaving = new AbortController()
    const response = await ask({ question: 'How long?' }, leaving.signal)
    const reported = once(reports, 'line')
    await eventsOf(response).next()
    leaving.abort()
    const [line] = (await reported) as [string]
    const [, sent, all] = /^acme left after (\d+) of (\d+) tokens: stopped$/.exec(line) ?? []
    assert.ok(Number(sent) >= 1 && Number(sent) < Number(all), line)
  })

  it('refuses a question that is absent, malformed or too large', async () => {
    assert.equal((await fetch(`${service.url}/api/v1/query/ask`, { headers: ana })).status, 422)
    assert.equal((await ask({ question: ' ' })).status, 422)
    assert.equal((await ask(['question'])).status, 422)
    assert.equal((await ask({ question: 'x'.repeat(70_000) })).status, 413)
    assert.equal((await fetch(`${service.url}/api/v1/query/ask?q=who`)).status, 422)
    const wrongMethod = await fetch(`${service.url}/api/v1/query/ask`, { method: 'DELETE', headers: ana })
    assert.equal(wrongMethod.status, 405)
    assert.equal(wrongMethod.headers.get('allow'), 'GET, HEAD, POST')
  })

  it('echoes the request as it arrived', async () => {
    const request = httpRequest(`${service.url}/api/v1/query/echo/%7Edeep?a=1&&b=%20`, {
      method: 'PATCH',
      headers: ['X-One', '1', 'x-ONE', '2', 'Host', 'demo.example', 'Transfer-Encoding', 'chunked'],
    })
    request.end(`é${'x'.repeat(4093)}é`)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const shown = JSON.parse(await text(response))

    assert.equal(shown.method, 'PATCH')
    assert.equal(shown.target, '/api/v1/query/echo/%7Edeep?a=1&&b=%20')
    assert.equal(shown.http_version, '1.1')
    assert.deepEqual(shown.headers.slice(0, 3), [
      ['X-One', '1'],
      ['x-ONE', '2'],
      ['Host', 'demo.example'],
    ])
    assert.equal(shown.body_size, 4097)
    assert.equal(shown.body, `é${'x'.repeat(4093)}`, 'cut at 4 KiB, before the character that does not fit')
  })

  it('answers with the status that was asked for', async () => {
    const status = (code: string) =>
      fetch(`${service.url}/api/v1/query/status/${code}`, { redirect: 'manual' })
    assert.deepEqual(await json(await status('503')), { status: 503, reason: 'Service Unavailable' })
    const empty = await status('204')
    assert.equal(empty.status, 204)
    assert.equal(await empty.text(), '')
    assert.equal((await status('307')).headers.get('location'), '/api/v1/query/echo')
    assert.equal((await status('101')).status, 422)
    assert.equal((await status('600')).status, 422)
    assert.equal((await status('200/more')).status, 404)
  })

  it('answers slowly, but not before its time nor later than ten minutes', async () => {
    const start = performance.now()
    const response = await fetch(`${service.url}/api/v1/query/slow?ms=60`)
    assert.deepEqual(await json(response), { waited_ms: 60 })
    assert.ok(performance.now() - start >= 59)
    for (const refused of ['600001', '-1', '1e3', '']) {
      assert.equal((await fetch(`${service.url}/api/v1/query/slow?ms=${refused}`)).status, 422, refused)
    }
  })

  it('breaks what is in flight when it is closed', async () => {
    const closing = await startQuery()
    const request = httpRequest(`${closing.url}/api/v1/query/ask?q=still+there`, { headers: ana }).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const broken = assert.rejects(text(response), { code: 'ECONNRESET' })
    await closing.close()
    await broken
  })

  function ask(body: unknown, signal?: AbortSignal): Promise<Response> {
    return fetch(`${service.url}/api/v1/query/ask`, {
      method: 'POST',
      headers: { ...ana, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    })
  }
})

async function* eventsOf(response: Response): AsyncGenerator<{ name: string; data: Json }> {
  let pending = ''
  for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
    pending += piece
    for (let end = pending.indexOf('\n\n'); end !== -1; end = pending.indexOf('\n\n')) {
      const [, name = '', data = ''] = /^event: (.*)\ndata: (.*)$/.exec(pending.slice(0, end)) ?? []
      yield { name, data: JSON.parse(data) }
      pending = pending.slice(end + 2)
    }
  }
  assert.equal(pending, '', 'every event ends with an empty line')
}
