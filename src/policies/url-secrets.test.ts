import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { token } from '../../test/support/token.ts'
import { reply } from '../exchange.ts'
import { Tickets } from '../store/tickets.ts'
import { urlSecrets } from './url-secrets.ts'

const tickets = Tickets.create()

/** The query that goes upstream. */
function passed(query: string): string {
  const exchange = exchangeOf({ target: `/x${query}` })
  void urlSecrets(tickets)(exchange, () => reply(204, []))
  return exchange.upstreamQuery
}

describe('a query', () => {
  test('loses a token, under however encoded a name', () => {
    assert.equal(passed(`?a=1&access_token=${token()}&b=2`), '?a=1&b=2')
    assert.equal(passed(`?%61ccess%5Ftoken=${token()}`), '')
  })

  test('loses a live ticket, which is used up', () => {
    const ticket = tickets.issue('payload', Date.now() + 30_000, Date.now())!
    assert.equal(passed(`?ticket=${ticket}&a=%20`), '?a=%20')
    assert.equal(tickets.redeem(ticket, Date.now()), null)
  })

  test('loses what may be a ticket of several gateways, without waiting for an answer', () => {
    const shared = { issue: () => null, redeem: () => new Promise<null>(() => {}), discard: () => true }
    const exchange = exchangeOf({ target: '/x?a=1&ticket=s.x' })
    void urlSecrets(shared)(exchange, () => reply(204, []))
    assert.equal(exchange.upstreamQuery, '?a=1')
  })

  for (const query of [
    '',
    '?ticket=4711&access_token=abc',
    '?ticket=507f1f77bcf86cd799439011',
    '?q=token%20ticket',
    '?access_token=&ticket',
    '?a=%zz&token=x.y.z',
  ]) {
    test(`passes as it is: ${query}`, () => assert.equal(passed(query), query))
  }
})
