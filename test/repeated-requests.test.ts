/** The same header section again and again, on one connection and on others: what was decided once is not decided for all. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { framedAnswers } from './support/answers.ts'
import { startConfigured } from './support/configured.ts'
import { type Connection, connectionsTo } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream, type ReceivedRequest } from './support/http-upstream.ts'
import { claims, token } from './support/token.ts'

let gateway: GatewayProcess
let upstream: HttpUpstream
const { open, leave } = connectionsTo(() => gateway.port)

before(async () => {
  upstream = await httpUpstream()
  gateway = await startConfigured({
    server: { trustedProxies: ['127.0.0.3'] },
    identity: { leeway: 0 },
    routes: [
      { path: '/public/*', auth: 'none', upstream: upstream.url },
      { path: '/private/*', upstream: upstream.url },
      { path: '/optional/*', auth: 'optional', upstream: upstream.url },
      { path: '/cookies/*', auth: 'none', forwardCookies: true, upstream: upstream.url },
      { path: '/which', host: 'a.example', auth: 'none', respond: { body: 'a' } },
      { path: '/which', host: 'b.example', auth: 'none', respond: { body: 'b' } },
      { path: '/which', auth: 'none', respond: { body: 'neither' } },
    ],
  })
})

after(async () => {
  leave()
  await gateway?.stop()
  await upstream?.close()
})

const section = (host = 'a', fields = ''): string => `Host: ${host}\r\n${fields}\r\n`
const bearing = (text: string): string =>
  section('a', `Authorization: Bearer ${text}\r\nCookie: c=d\r\nX-Company-ID: evil\r\n`)

let marks = 0
const mark = (): string => `mark-${++marks}.`
const received = (name: string): ReceivedRequest[] =>
  upstream.requests.filter(({ target }) => target.includes(name))

/** Sends them in one packet, or each when the one before is answered. @returns status and body of each answer */
async function ask(
  connection: Connection,
  requests: readonly string[],
  atOnce: boolean,
): Promise<[number, string][]> {
  const known = framedAnswers(connection.text()).answers.length
  const until = (count: number) =>
    connection.until(text => framedAnswers(text).answers.length === known + count)
  if (atOnce) {
    connection.write(requests.join(''))
    await until(requests.length)
  }
  for (const [index, request] of (atOnce ? [] : requests).entries()) {
    connection.write(request)
    await until(index + 1)
  }
  const { answers, rest } = framedAnswers(connection.text())
  assert.equal(rest, '')
  return answers.slice(known).map(({ status, body }) => [status, body])
}

for (const atOnce of [false, true]) {
  describe(`the same header section, ${atOnce ? 'in one packet' : 'one after the other'}`, () => {
    test('is judged by the route of each request', async () => {
      const connection = await open()
      const name = mark()
      const fields = bearing(token())
      const routes = ['public', 'private', 'nowhere', 'cookies', 'public', 'optional', 'private', 'cookies']
      const requests = [...routes, ...routes, ...routes].map(
        (route, index) => `GET /${route}/${name}${index}. HTTP/1.1\r\n${fields}`,
      )
      const answers = await ask(connection, requests, atOnce)
      for (const [index, [status]] of answers.entries()) {
        const route = routes[index % routes.length]!
        assert.equal(status, route === 'nowhere' ? 404 : 200)
        const [request] = received(`${name}${index}.`)
        if (route === 'nowhere') {
          assert.equal(request, undefined)
          continue
        }
        const identified = route === 'private' || route === 'optional'
        const { headers } = request!.message
        assert.equal(headers['x-company-id'], identified ? 'acme' : undefined, route)
        assert.equal(headers.cookie, route === 'cookies' ? 'c=d' : undefined, route)
      }
    })

    test('goes with any method, target, version and form of the target', async () => {
      const connection = await open()
      const lines: [line: string, status: number, body: string][] = [
        ['GET /which HTTP/1.1', 200, 'a'],
        ['GET http://b.example/which HTTP/1.1', 200, 'b'],
        ['GET /which?b HTTP/1.1', 200, 'a'],
        ['GET http://A.example:80/which HTTP/1.0', 200, 'a'],
        ['GET http://c.example/which HTTP/1.1', 200, 'neither'],
        ['GET /which HTTP/1.0', 200, 'a'],
      ]
      const requests = [...lines, ...lines, ...lines]
      const fields = section('a.example', 'Connection: keep-alive\r\n')
      const answers = await ask(
        connection,
        requests.map(([line]) => `${line}\r\n${fields}`),
        atOnce,
      )
      assert.deepEqual(
        answers,
        requests.map(([, status, body]) => [status, body]),
      )
    })

    test('and those that are nearly the same are told apart', async () => {
      const connection = await open()
      const hosts = [
        'a.example',
        'b.example',
        'A.example',
        'b.Example',
        'c.example',
        'b.example.',
        'a.examplf',
      ]
      const order = [0, 0, 0, 1, 1, 1, 0, 2, 2, 3, 3, 4, 4, 0, 5, 5, 6, 6, 0, 1, 0, 1]
      const answers = await ask(
        connection,
        order.map(index => `GET /which HTTP/1.1\r\n${section(hosts[index])}`),
        atOnce,
      )
      const expected = ['a', 'b', 'a', 'b', 'neither', 'b', 'neither']
      assert.deepEqual(
        answers.map(([, body]) => body),
        order.map(index => expected[index]),
      )
    })

    test('has a body of its own each time, and never that of another', async () => {
      const connection = await open()
      const name = mark()
      const requests: string[] = []
      for (let index = 0; index < 30; index++) {
        const body = `${index}`.padStart(5, '.')
        const coded = `Transfer-Encoding: chunked\r\n`
        const fields = index % 10 < 5 ? section('a', 'Content-Length: 5\r\n') : section('a', coded)
        const content = index % 10 < 5 ? body : `5\r\n${body}\r\n0\r\n\r\n`
        requests.push(`POST /public/${name} HTTP/1.1\r\n${fields}${content}`)
      }
      await ask(connection, requests, atOnce)
      assert.deepEqual(
        received(name).map(({ text }) => text),
        requests.map((_, index) => `${index}`.padStart(5, '.')),
      )
    })
  })
}

test('a body in a packet behind its head, with a section that is known', async () => {
  const connection = await open()
  const name = mark()
  const head = `POST /public/${name} HTTP/1.1\r\n${section('a', 'Content-Length: 5\r\n')}`
  for (let index = 0; index < 10; index++) {
    connection.write(head)
    await upstream.request(name)
    connection.write(`body${index}`)
    await connection.until(text => framedAnswers(text).answers.length === index + 1)
  }
  assert.deepEqual(
    received(name).map(({ text }) => text),
    Array.from({ length: 10 }, (_, index) => `body${index}`),
  )
})

test('cut at every byte, two requests with one section are two requests', { timeout: 30_000 }, async () => {
  const fields = section('a', 'Content-Length: 2\r\n')
  const bytes = `POST /public/1 HTTP/1.1\r\n${fields}abPOST /public/2 HTTP/1.1\r\n${fields}cd`
  const connection = await open()
  // On one connection, so that the section is known each time
  for (let cut = 1; cut < bytes.length; cut++) {
    const name = mark()
    const both = bytes.replaceAll('/public/', `/public/${name}`)
    const at = cut + name.length
    connection.write(both.slice(0, at))
    // What an answer from elsewhere takes is time in which the first piece has arrived.
    await (await fetch(`${gateway.url}/health`)).text()
    connection.write(both.slice(at))
    await connection.until(text => framedAnswers(text).answers.length === 2 * cut)
    assert.deepEqual(
      received(name).map(({ target, text }) => [target, text]),
      [
        [`/public/${name}1`, 'ab'],
        [`/public/${name}2`, 'cd'],
      ],
    )
  }
})

test('a token that expires between two of a thousand like requests is not taken any more', {
  timeout: 30_000,
}, async () => {
  let connection = await open()
  const exp = Math.floor(Date.now() / 1000) + 2
  const request = `GET /private/x HTTP/1.1\r\n${bearing(token(claims({ exp })))}`
  const statuses: number[] = []
  const take = async (): Promise<void> => {
    const answers = await ask(connection, [request], false).catch((error: Error) => {
      // Several workers even out their connections: this one may have been asked to come back through another.
      if (!/the peer ended \(fin\)/.test(error.message)) throw error
      return null
    })
    if (answers === null) {
      connection = await open()
      return
    }
    const [[status, body] = [0, '']] = answers
    statuses.push(status)
    if (status !== 200) assert.match(body, /Token has expired\./)
  }
  while (Date.now() < exp * 1000 + 100 || statuses.length < 200) await take()
  const first = statuses.indexOf(401)
  assert.ok(first > 20, `only ${first} were taken before`)
  assert.deepEqual(new Set(statuses.slice(0, first)), new Set([200]))
  assert.deepEqual(new Set(statuses.slice(first)), new Set([401]))
  assert.equal((await ask(await open(), [request], false))[0]![0], 401)
})

test('the same bytes from another peer are of that peer, and only a trusted one is believed', async () => {
  const fields = section('a', 'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n')
  const name = mark()
  const peers = ['127.0.0.1', '127.0.0.2', '127.0.0.3']
  const sockets = await Promise.all(
    peers.map(async localAddress => {
      const socket = net.connect({ port: gateway.port, host: '127.0.0.1', localAddress })
      await once(socket, 'connect')
      return socket
    }),
  )
  for (let round = 0; round < 4; round++) {
    for (const [index, socket] of sockets.entries()) {
      socket.write(`GET /public/${name}${index}-${round} HTTP/1.1\r\n${fields}`)
      await once(socket, 'data')
    }
  }
  for (const socket of sockets) socket.destroy()
  const said = received(name).map(({ message: { headers } }) => [
    headers['x-forwarded-for'],
    headers['x-forwarded-proto'],
  ])
  const round = [
    ['127.0.0.1', 'http'],
    ['127.0.0.2', 'http'],
    ['192.0.2.1, 127.0.0.3', 'https'],
  ]
  assert.deepEqual(said, [...round, ...round, ...round, ...round])
})
