import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { claims, token } from '../../test/support/token.ts'
import { verifierSettings } from '../../test/support/verifier.ts'
import { compose, type Exchange, type Handler, type Reply, reply } from '../exchange.ts'
import { TokenVerifier } from '../identity/verify.ts'
import { Blocks } from '../store/blocks.ts'
import { type AskedTickets, Tickets } from '../store/tickets.ts'
import { authenticate } from './authenticate.ts'
import { streamCredentials, ticketPayload } from './stream-credentials.ts'

const tickets = Tickets.create({ usual: 64, large: 4 })
const verifier = new TokenVerifier(verifierSettings(), null)
const APP = 'https://app.example.com'

interface Asked {
  readonly target?: string
  readonly headers?: string[]
  readonly upgrade?: boolean
  readonly method?: string
  readonly mode?: 'required' | 'optional'
  /** What the route takes. */
  readonly takes?: { readonly tickets?: boolean; readonly subprotocol?: boolean }
  readonly answer?: Handler
  readonly tickets?: AskedTickets
}

interface Result {
  readonly reply: Reply
  /** The same, where it takes its time. */
  readonly later: Promise<Reply>
  readonly exchange: Exchange
  readonly passed: boolean
  readonly code: string | undefined
}

/** The two policies as they stand in the pipeline. */
function ask(asked: Asked): Result {
  const { takes = { tickets: true, subprotocol: true } } = asked
  const exchange = exchangeOf({
    target: asked.target ?? '/',
    method: asked.method ?? 'GET',
    headers: asked.headers ?? [],
    upgrade: asked.upgrade ?? false,
  })
  let passed = false
  const handle = compose(
    [
      streamCredentials({
        tickets: takes.tickets ? (asked.tickets ?? tickets) : null,
        subprotocol: takes.subprotocol ?? false,
      }),
      authenticate({
        verifier,
        blocks: new Blocks(),
        mode: asked.mode ?? 'required',
        audience: 'authenticated',
        streams: true,
      }),
    ],
    exchange => {
      passed = true
      return asked.answer?.(exchange) ?? reply(200, [])
    },
  )
  const answer = handle(exchange) as Reply
  return { reply: answer, later: Promise.resolve(answer), exchange, passed, code: answer.error?.code }
}

const STREAM = ['Accept', 'text/event-stream']

function issue(origin = '', sub = 'ana'): string {
  const now = Date.now()
  return tickets.issue(ticketPayload(origin, token(claims({ sub }))), now + 30_000, now)!
}

function protocolsFor(exchange: Exchange): { lines: string; replaced: boolean } {
  const replaced = exchange.upstreamHeaders.names?.has('sec-websocket-protocol') ?? false
  return { lines: exchange.upstreamHeaders.lines, replaced }
}

describe('a ticket in the query', () => {
  for (const [what, asked] of [
    ['of a WebSocket', { upgrade: true }],
    ['of an event stream', { headers: STREAM }],
    ['of an event stream among others', { headers: ['accept', 'text/html, Text/Event-Stream;q=0.9'] }],
  ] as const) {
    test(`${what} stands for the token that it was issued for`, () => {
      const { passed, exchange } = ask({
        ...asked,
        target: `/chat?a=%20&ticket=${issue('', 'bob')}&b`,
        headers: [...('headers' in asked ? asked.headers : [])],
      })
      assert.equal(passed, true)
      assert.equal(exchange.identity?.userId, 'bob')
      assert.equal(exchange.upstreamQuery, '?a=%20&b')
    })
  }

  test('is good once', () => {
    const target = `/?ticket=${issue()}`
    assert.equal(ask({ target, upgrade: true }).passed, true)
    const again = ask({ target, upgrade: true })
    assert.deepEqual([again.reply.status, again.code, again.passed], [401, 'ticket_invalid', false])
    assert.ok(again.reply.headers.includes('WWW-Authenticate'))
    assert.ok(!again.exchange.upstreamQuery.includes('ticket'))
  })

  test('that is none is refused, also where a token is optional', () => {
    for (const ticket of ['', 'x', 'A'.repeat(24), issue().slice(1), token()])
      for (const mode of ['required', 'optional'] as const)
        assert.equal(ask({ target: `/?ticket=${ticket}`, headers: STREAM, mode }).code, 'ticket_invalid')
  })

  test('may be asked about elsewhere: what is answered late counts the same', async () => {
    const late = (payload: string | null): AskedTickets => ({
      issue: () => null,
      redeem: async () => payload,
      discard: () => false,
    })
    const good = late(ticketPayload(APP, token(claims({ sub: 'bob' }))))
    const asked = { target: '/?ticket=s.x&a=1', headers: [...STREAM, 'Origin', APP] }
    const { exchange, later } = ask({ ...asked, tickets: good })
    assert.equal((await later).status, 200)
    assert.deepEqual([exchange.identity?.userId, exchange.upstreamQuery], ['bob', '?a=1'])
    for (const refusing of [
      { ...asked, tickets: late(null) },
      { ...asked, tickets: good, headers: [...STREAM, 'Origin', 'https://evil.example.com'] },
    ])
      assert.equal((await ask(refusing).later).error?.code, 'ticket_invalid')
  })

  test('of another origin is refused, and used up', () => {
    const ticket = issue(APP)
    const from = (origin: string): Result =>
      ask({ target: `/?ticket=${ticket}`, headers: [...STREAM, 'Origin', origin] })
    assert.equal(from('https://evil.example.com').code, 'ticket_invalid')
    assert.equal(from(APP).code, 'ticket_invalid')
  })

  test('is good for its own origin, for who has none, and for any if it was issued to none', () => {
    for (const [issued, from] of [
      [APP, ['Origin', APP]],
      [APP, []],
      ['', ['Origin', APP]],
    ] as const)
      assert.equal(ask({ target: `/?ticket=${issue(issued)}`, headers: [...STREAM, ...from] }).passed, true)
  })

  test('stands for a token that is verified again', () => {
    const now = Date.now()
    const expired = token(claims({ exp: Math.floor(now / 1000) - 100 }))
    const ticket = tickets.issue(ticketPayload('', expired), now + 30_000, now)
    assert.equal(ask({ target: `/?ticket=${ticket}`, upgrade: true }).code, 'token_expired')
  })

  test('is a parameter like any other for other requests and routes', () => {
    const headers = ['Authorization', `Bearer ${token()}`]
    const target = '/?ticket=17&access_token=x'
    for (const asked of [
      { headers },
      { headers: [...headers, 'Accept', '*/*'] },
      { headers: [...headers, ...STREAM], method: 'POST' },
      { headers: [...headers, ...STREAM], takes: { subprotocol: true } },
    ]) {
      const { passed, exchange } = ask({ target, ...asked })
      assert.deepEqual([passed, exchange.upstreamQuery], [true, target.slice(1)])
    }
    // Where only subprotocols are taken
    const { exchange } = ask({ target, headers, upgrade: true, takes: { subprotocol: true } })
    assert.equal(exchange.upstreamQuery, '?ticket=17')
  })

  test('may be absent: then the header counts', () => {
    assert.equal(ask({ upgrade: true }).code, 'not_authenticated')
    assert.equal(ask({ upgrade: true, mode: 'optional' }).exchange.identity, null)
    const { exchange } = ask({ target: '/?a', headers: [...STREAM, 'Authorization', `Bearer ${token()}`] })
    assert.equal(exchange.identity?.companyId, 'acme')
  })
})

test('access_token is no credential, and stays behind', () => {
  const { code, exchange } = ask({ target: `/?x&access_token=${token()}`, upgrade: true })
  assert.deepEqual([code, exchange.upstreamQuery], ['not_authenticated', '?x'])
})

describe('a token in a subprotocol', () => {
  const offer = (text: string): string[] => ['Sec-WebSocket-Protocol', text]

  test('counts, and the upstream is offered the others', () => {
    const { exchange } = ask({ upgrade: true, headers: offer(`chat , bearer.${token()},v2`) })
    assert.equal(exchange.identity?.userId, claims().sub)
    assert.deepEqual(protocolsFor(exchange), {
      lines: 'Sec-WebSocket-Protocol: chat, v2\r\n',
      replaced: true,
    })
  })

  test('counts in a line of its own, in any letter case of its mark', () => {
    const { exchange } = ask({ upgrade: true, headers: [...offer('chat'), ...offer(`Bearer.${token()}`)] })
    assert.equal(exchange.identity?.userId, claims().sub)
    assert.equal(protocolsFor(exchange).lines, 'Sec-WebSocket-Protocol: chat\r\n')
  })

  const accepted = (...headers: string[]) => ({
    headers: offer(`bearer.${token()}`),
    upgrade: true,
    answer: () => ({ ...reply(101, headers), contentLength: -1 }),
  })

  test('is chosen where it was the only one offered and the upstream chose none', async () => {
    const asked = accepted()
    const { reply: answer, exchange } = ask(asked)
    assert.deepEqual(answer.headers, ['Sec-WebSocket-Protocol', asked.headers[1]])
    assert.deepEqual(protocolsFor(exchange), { lines: '', replaced: true })
  })

  test('is not chosen for an upstream that chose, nor by the gateway beside others, nor in a refusal', () => {
    const own = accepted('sec-websocket-protocol', 'v2')
    assert.deepEqual(ask(own).reply.headers, ['sec-websocket-protocol', 'v2'])
    const beside = { ...accepted(), headers: offer(`chat, bearer.${token()}`) }
    assert.deepEqual(ask(beside).reply.headers, [])
    const refused = { ...accepted(), answer: () => reply(403, []) }
    assert.deepEqual(ask(refused).reply.headers, [])
  })

  test('is refused like one in the header', () => {
    for (const [entry, code] of [
      ['bearer.x', 'token_invalid'],
      ['bearer.', 'not_authenticated'],
      ['bearer.sb_publishable_x', 'opaque_key'],
      [`bearer.${token(claims(), { secret: 'x'.repeat(32) })}`, 'token_signature'],
    ] as const)
      assert.equal(ask({ upgrade: true, headers: offer(entry) }).code, code)
  })

  test('is a subprotocol like any other where the route does not take it', () => {
    const headers = offer(`bearer.${token()}`)
    const { exchange, code } = ask({ upgrade: true, headers, takes: { tickets: true } })
    assert.deepEqual([code, protocolsFor(exchange).replaced], ['not_authenticated', false])
    assert.equal(ask({ headers, target: '/' }).code, 'not_authenticated')
  })
})

describe('more than one credential', () => {
  const header = ['Authorization', `Bearer ${token()}`]
  const protocol = ['Sec-WebSocket-Protocol', `bearer.${token()}`]
  const cases: [string, (ticket: string) => Asked][] = [
    ['header and ticket', ticket => ({ target: `/?ticket=${ticket}`, headers: header })],
    ['header and subprotocol', () => ({ headers: [...header, ...protocol] })],
    ['ticket and subprotocol', ticket => ({ target: `/?ticket=${ticket}`, headers: protocol })],
    ['the same ticket twice', ticket => ({ target: `/?ticket=${ticket}&ticket=${ticket}` })],
    ['two subprotocols', () => ({ headers: [...protocol, ...protocol] })],
    [
      'an API key and a ticket',
      ticket => ({ target: `/?ticket=${ticket}`, headers: ['Authorization', 'Bearer sb_x'] }),
    ],
  ]
  for (const [what, asked] of cases)
    test(`is refused: ${what}`, () => {
      const ticket = issue()
      const { reply: answer, code, passed } = ask({ upgrade: true, ...asked(ticket) })
      assert.deepEqual([answer.status, code, passed], [400, 'repeated_authorization', false])
      assert.equal(ask({ upgrade: true, target: `/?ticket=${ticket}` }).passed, true, 'the ticket is gone')
    })

  test('does not mean another scheme, which proxies in front ask for', () => {
    const headers = ['Authorization', 'Basic YTpi']
    assert.equal(ask({ upgrade: true, target: `/?ticket=${issue()}`, headers }).passed, true)
  })
})
