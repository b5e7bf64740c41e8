import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RequestHeaders } from './request-headers.ts'
import { acceptOf, asksForWebSocket, handshakeFault, isAcceptance } from './websocket-handshake.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const GOOD = [
  ...['Upgrade', 'websocket', 'Connection', 'keep-alive, Upgrade'],
  ...['Sec-WebSocket-Version', '13', 'Sec-WebSocket-Key', KEY],
]

/** The good handshake with one field replaced by others. */
const withField = (name: string, ...values: string[]): string[] => {
  const at = GOOD.indexOf(name)
  return [...GOOD.slice(0, at), ...values.flatMap(value => [name, value]), ...GOOD.slice(at + 2)]
}

const fault = (lines: string[], method = 'GET') => handshakeFault(method, new RequestHeaders(lines))

describe('a handshake', () => {
  test('is good as RFC 6455 has it', () => {
    assert.equal(fault(GOOD), null)
    assert.equal(fault(withField('Connection', 'close', 'UPGRADE')), null)
  })

  const cases: [string, string[], string | RegExp][] = [
    ['no version', withField('Sec-WebSocket-Version'), 'version'],
    ['another version', withField('Sec-WebSocket-Version', '8'), 'version'],
    ['a list of versions', withField('Sec-WebSocket-Version', '13, 8'), 'version'],
    ['two versions', withField('Sec-WebSocket-Version', '13', '13'), /More than one/],
    ['no key', withField('Sec-WebSocket-Key'), /No Sec-WebSocket-Key/],
    ['two keys', withField('Sec-WebSocket-Key', KEY, KEY), /More than one/],
    ['a short key', withField('Sec-WebSocket-Key', 'YWJj'), /16 bytes/],
    ['a key that is no Base64', withField('Sec-WebSocket-Key', '!'.repeat(24)), /16 bytes/],
    ['Connection without upgrade', withField('Connection', 'keep-alive, upgraded'), /option upgrade/],
    ['no Connection', withField('Connection'), /option upgrade/],
  ]
  for (const [what, lines, expected] of cases) {
    test(`is refused: ${what}`, () => {
      const found = fault(lines)
      if (typeof expected === 'string') assert.equal(found, expected)
      else assert.match(String(found), expected)
    })
  }

  test('begins with GET', () => {
    assert.match(String(fault(GOOD, 'POST')), /GET/)
  })
})

describe('a request', () => {
  test('asks for a WebSocket by its name in Upgrade', () => {
    const asks = (...lines: string[]): boolean => asksForWebSocket(new RequestHeaders(lines))
    assert.equal(asks('Upgrade', 'WebSocket'), true)
    assert.equal(asks('Upgrade', 'foo, websocket'), true)
    assert.equal(asks('Upgrade', 'websockets'), false)
    assert.equal(asks('Upgrade', 'h2c'), false)
    assert.equal(asks('Connection', 'upgrade'), false)
  })
})

describe('an upstream', () => {
  const answer = ['Upgrade', 'WebSocket', 'Connection', 'Upgrade', 'Sec-WebSocket-Accept', acceptOf(KEY)]

  test("accepts with the value of the RFC's example", () => {
    assert.equal(acceptOf(KEY), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
    assert.equal(isAcceptance(answer, KEY), true)
  })

  test('does not accept with anything else', () => {
    const [upgrade, websocket, connection, option, accept, value] = answer as [
      string,
      string,
      string,
      string,
      string,
      string,
    ]
    const others = [
      [upgrade, 'h2c', connection, option, accept, value],
      [connection, option, accept, value],
      [upgrade, websocket, accept, value],
      [upgrade, websocket, connection, 'close', accept, value],
      [upgrade, websocket, connection, option],
      [upgrade, websocket, connection, option, accept, acceptOf('AAAAAAAAAAAAAAAAAAAAAA==')],
      [...answer, accept, value],
      [...answer, upgrade, 'h2c'],
    ]
    for (const lines of others) assert.equal(isAcceptance(lines, KEY), false, lines.join('|'))
  })
})
