import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { liveProtocol } from './live.ts'
import { startQuery } from './query.ts'
import type { RunningService } from './service.ts'

const ana = { 'X-Company-ID': 'acme', 'X-User-ID': 'user-ana' }
const reports = new EventEmitter()

describe('query service over a WebSocket', () => {
  let service: RunningService
  before(async () => {
    service = await startQuery({ report: line => reports.emit('line', line) })
  })
  after(() => service.close())

  it('greets, and sends back what it gets, in order', async () => {
    const { socket, messages } = connect(service, ana, ['other', liveProtocol])
    assert.deepEqual(JSON.parse(String(await next(messages))), {
      type: 'welcome',
      company_id: 'acme',
      user_id: 'user-ana',
      protocol: liveProtocol,
    })
    const megabyte = Buffer.alloc(1024 * 1024, 'x')
    socket.send('¡hola!')
    socket.send(megabyte)
    socket.send('')
    assert.deepEqual(JSON.parse(String(await next(messages))), { type: 'echo', text: '¡hola!' })
    assert.ok(megabyte.equals(await next(messages)))
    assert.deepEqual(JSON.parse(String(await next(messages))), { type: 'echo', text: '' })

    const reported = once(reports, 'line')
    socket.close(4_000, 'enough')
    assert.deepEqual(await reported, ['acme closed its WebSocket with 4000 after 3 messages'])
  })

  it('says now and then that it is there', { timeout: 10_000 }, async () => {
    const { socket, messages } = connect(service, ana)
    await next(messages)
    assert.match(String(await next(messages)), /^\{"type":"tick","at":"[^"]+","messages":0\}$/)
    socket.terminate()
  })

  it('talks to nobody without a company', async () => {
    assert.equal(await refusal(connect(service, {}).socket), 422)
  })

  it('asks for the upgrade where there is none, and answers as ever where none is possible', async () => {
    const plain = await fetch(`${service.url}/api/v1/query/live`)
    assert.equal(plain.status, 426)
    assert.equal(plain.headers.get('upgrade'), 'websocket')
    assert.equal(await refusal(connect(service, ana, [], '/api/v1/query/echo').socket), 200)
  })

  it('breaks its connections when it is closed', async () => {
    const closing = await startQuery()
    const { socket, messages } = connect(closing, ana)
    await next(messages)
    const closed = once(socket, 'close')
    await closing.close()
    assert.equal((await closed)[0], 1006)
  })
})

describe('events of the query service', () => {
  let service: RunningService
  before(async () => {
    service = await startQuery()
  })
  after(() => service.close())

  it('come with ids, and none twice for whoever comes back', { timeout: 15_000 }, async () => {
    const first = await listen({}, '', 2)
    assert.equal(first[1], first[0]! + 1)
    assert.deepEqual(await listen({ 'Last-Event-ID': String(first[1]) }, '', 1), [first[1]! + 1])
    assert.deepEqual(await listen({}, `?last_event_id=${first[0]}`, 2), [first[0]! + 1, first[0]! + 2])
  })

  it('begin now for an id that is yet to come, and make no sense of one that is no number', async () => {
    const [now] = await listen({}, '', 1)
    const [behind] = await listen({ 'Last-Event-ID': '999999999999999' }, '', 1)
    assert.ok(behind! >= now! && behind! <= now! + 3, `${behind} behind ${now}`)
    const refused = await fetch(`${service.url}/api/v1/query/events?last_event_id=x`, { headers: ana })
    assert.equal(refused.status, 422)
    assert.equal((await fetch(`${service.url}/api/v1/query/events`)).status, 422)
  })

  /** The numbers of the first events. */
  async function listen(headers: Record<string, string>, query: string, count: number): Promise<number[]> {
    const leaving = new AbortController()
    const { body } = await fetch(`${service.url}/api/v1/query/events${query}`, {
      headers: { ...ana, ...headers },
      signal: leaving.signal,
    })
    let text = ''
    const numbers = () =>
      [...text.matchAll(/^id: (\d+)\nevent: tick\ndata: .*\n\n/gm)].map(([, id]) => Number(id))
    for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
      text += piece
      if (numbers().length >= count) break
    }
    leaving.abort()
    return numbers().slice(0, count)
  }
})

function connect(
  service: RunningService,
  headers: Record<string, string>,
  protocols: string[] = [],
  path = '/api/v1/query/live',
) {
  const socket = new WebSocket(service.url.replace('http', 'ws') + path, protocols, { headers })
  const messages: Buffer[] = []
  const arrived = new EventEmitter()
  socket.on('message', (data: Buffer) => {
    messages.push(data)
    arrived.emit('message')
  })
  return { socket, messages: { messages, arrived } }
}

/** The status of the answer that came in the place of a WebSocket. */
async function refusal(socket: WebSocket): Promise<number | undefined> {
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage]
  const ended = once(socket, 'error')
  socket.terminate()
  await ended
  return response.statusCode
}

async function next({ messages, arrived }: ReturnType<typeof connect>['messages']): Promise<Buffer> {
  if (messages.length === 0) await once(arrived, 'message')
  return messages.shift()!
}
