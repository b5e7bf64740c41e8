import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { claims, token } from '../../test/support/token.ts'
import { verifierSettings } from '../../test/support/verifier.ts'
import { type GatewayConfig, type GatewayOptions, gatewaySchema } from '../config/schema.ts'
import { compose, type Reply } from '../exchange.ts'
import { TokenVerifier } from '../identity/verify.ts'
import { problems } from '../policies/problems.ts'
import { Blocks } from '../store/blocks.ts'
import { Tickets } from '../store/tickets.ts'
import { takesTickets, ticketRoute } from './tickets.ts'

const verifier = new TokenVerifier(verifierSettings(), null)
const LIVE = { path: '/live/*', upstream: 'http://127.0.0.1:1', tickets: true }

function configOf(routes: GatewayOptions['routes'] = [LIVE]): GatewayConfig {
  return gatewaySchema.parse({ routes, tickets: { lifetime: '20s' } })
}

function ask(
  headers: string[],
  tickets = Tickets.create({ usual: 2, large: 1 }),
  config = configOf(),
): Reply {
  const { policies, handle } = ticketRoute(config, verifier, new Blocks(), tickets, null)
  return compose([problems(), ...policies!], handle)(exchangeOf({ method: 'POST', headers })) as Reply
}

const bearer = (text: string): string[] => ['Authorization', `Bearer ${text}`]
const fieldOf = ({ headers }: Reply, name: string): string | undefined => headers[headers.indexOf(name) + 1]

describe('a ticket', () => {
  test('is given for a token, and stands for it and its origin', () => {
    const tickets = Tickets.create({ usual: 2, large: 1 })
    const signed = token()
    const answer = ask([...bearer(signed), 'Origin', 'https://app.example.com'], tickets)
    assert.equal(answer.status, 201)
    assert.equal(fieldOf(answer, 'Cache-Control'), 'no-store')
    const { ticket, expires_in } = JSON.parse(String(answer.body)) as { ticket: string; expires_in: number }
    assert.equal(expires_in, 20)
    assert.equal(tickets.redeem(ticket, Date.now() + 19_000), `https://app.example.com ${signed}`)
    const other = JSON.parse(String(ask(bearer(signed), tickets).body)) as { ticket: string }
    assert.equal(tickets.redeem(other.ticket, Date.now() + 21_000), null)
  })

  test('is given to no other, for the reasons that any route has', () => {
    for (const [headers, status, code] of [
      [[], 401, 'not_authenticated'],
      [bearer('x'), 401, 'token_invalid'],
      [[...bearer(token()), ...bearer(token())], 400, 'repeated_authorization'],
      [bearer(token(claims({ app_metadata: {} }))), 403, 'company_missing'],
      [[...bearer(token()), 'Origin', `https://${'x'.repeat(20_000)}`], 431, 'headers_too_large'],
    ] as const) {
      const answer = ask([...headers])
      assert.deepEqual([answer.status, answer.error?.code], [status, code])
    }
  })

  test('needs no company where a route with tickets needs none', () => {
    const config = configOf([LIVE, { ...LIVE, path: '/open', company: 'optional' }])
    assert.equal(ask(bearer(token(claims({ app_metadata: {} }))), undefined, config).status, 201)
  })

  test('is refused while there is no room', () => {
    const tickets = Tickets.create({ usual: 2, large: 1 })
    const answers = Array.from({ length: 4 }, () => ask(bearer(token()), tickets))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [201, 201, 201, 503],
    )
    assert.equal(answers[3]!.error?.code, 'tickets_exhausted')
    assert.equal(fieldOf(answers[3]!, 'Retry-After'), '1')
  })
})

test('are taken where a route with a token says so', () => {
  const { tickets: _, ...without } = LIVE
  assert.equal(takesTickets(configOf()), true)
  assert.equal(takesTickets(configOf([without])), false)
  assert.equal(takesTickets(configOf([without, { ...LIVE, auth: 'optional' }])), true)
})
