import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exchangeOf, identityOf } from '../../test/support/exchange.ts'
import { GatewayError } from '../errors.ts'
import type { Exchange, Outcome } from '../exchange.ts'
import { Calendar } from '../limits/calendar.ts'
import { usageRecorder } from './recorder.ts'
import { type TotalRow, Totals } from './totals.ts'

function settled(
  over: Partial<Exchange> = {},
  company: string | null = 'acme',
  outcome: Outcome = 'answered',
) {
  const exchange = exchangeOf({ identity: identityOf({ companyId: company }) })
  return Object.assign(
    exchange,
    { route: { name: 'orders', path: '/orders' }, status: 200, outcome, endedAt: performance.now() },
    over,
  )
}

function recorder(timeZone = 'UTC') {
  const totals = new Totals()
  /** The wall clock, ahead of the one that only goes forward by so much. */
  let ahead = Date.parse('2026-11-27T12:00:00Z')
  let elapsed = 0
  const observe = usageRecorder(totals, new Calendar('day', timeZone), () => ahead + elapsed)
  return {
    /** @param after ms since the last one */
    record(exchange: Exchange, after = 0) {
      elapsed += after
      exchange.endedAt = elapsed
      observe(exchange)
    },
    setClock(text: string) {
      ahead = Date.parse(text) - elapsed
    },
    rows: (): TotalRow[] => totals.take(Number.POSITIVE_INFINITY),
    only(): TotalRow {
      const [row, ...more] = this.rows()
      assert.deepEqual(more, [])
      return row!
    },
  }
}

test('requests add up by company, route and day', () => {
  const { record, setClock, rows } = recorder('Europe/Madrid')
  record(settled({ bytesSent: 10, cost: 2.5 }))
  record(settled({ bytesSent: 5, bytesReceived: 7 }))
  record(settled({}, 'beta'))
  record(settled({ route: null }, null))
  setClock('2026-11-27T23:00:00Z')
  record(settled(), 1_000)
  assert.deepEqual(
    rows().map(({ account, requests, bytesIn, bytesOut, cost }) => [
      account.day,
      account.company,
      account.route,
      requests,
      bytesIn,
      bytesOut,
      cost,
    ]),
    [
      ['2026-11-27', 'acme', 'orders', 2, 7, 15, 3.5],
      ['2026-11-27', 'beta', 'orders', 1, 0, 0, 1],
      ['2026-11-27', '', '', 1, 0, 0, 1],
      ['2026-11-28', 'acme', 'orders', 1, 0, 0, 1],
    ],
  )
})

for (const [what, exchange, errors, refused] of [
  ['an answer', settled(), 0, 0],
  ["a service's 404", settled({ status: 404 }), 0, 1],
  ["a service's 500", settled({ status: 500 }), 1, 0],
  ['a refusal', settled({ status: 401, error: new GatewayError('token_expired') }), 0, 1],
  ['a refusal of gRPC', settled({ status: 200, error: new GatewayError('token_expired') }), 0, 1],
  [
    'an upstream that is away',
    settled({ status: 503, error: new GatewayError('upstream_unreachable') }),
    1,
    0,
  ],
  ['an answer that broke', settled({}, 'acme', 'broken'), 1, 0],
  [
    'a client that left',
    settled({ status: 0, error: new GatewayError('client_gone') }, 'acme', 'client_gone'),
    0,
    0,
  ],
] as const) {
  test(`${what} is one request, ${errors} errors, ${refused} refused`, () => {
    const { record, ...counted } = recorder()
    record(exchange)
    const row = counted.only()
    assert.deepEqual([row.requests, row.errors, row.refused], [1, errors, refused])
  })
}

test('the upstream has worked from its first call to the end of its answer, or of the exchange', () => {
  const { record, ...counted } = recorder()
  record(settled({ upstreamBeganAt: 1_000, upstreamEndedAt: 3_500 }))
  assert.equal(counted.only().upstreamSeconds, 2.5)
  record(settled({ upstreamBeganAt: 2_000 }), 6_500)
  assert.equal(counted.only().upstreamSeconds, 4.5)
  record(settled())
  assert.equal(counted.only().upstreamSeconds, 0)
})

test('a cost that is no amount spoils no sum', () => {
  const { record, ...counted } = recorder()
  for (const cost of [Number.NaN, -1, Number.POSITIVE_INFINITY, 'a' as unknown as number, 3])
    record(settled({ cost }))
  const { requests, cost } = counted.only()
  assert.deepEqual([requests, cost], [5, 3])
})

test('names of any length are cut to one that fits', () => {
  const { record, ...counted } = recorder()
  record(settled({ route: { name: 'r'.repeat(100_000), path: '/' } }))
  record(settled({ route: { name: 'r'.repeat(100_001), path: '/' } }))
  const { account, requests } = counted.only()
  assert.deepEqual([account.route.length, requests], [512, 2])
})

test('a day ends at its midnight, to the millisecond, though the clock is hardly ever read', () => {
  const { record, setClock, rows } = recorder('Europe/Madrid')
  record(settled())
  setClock('2026-11-27T22:59:59.000Z')
  for (let step = 0; step < 2_000; step++) record(settled(), 1)
  const days = rows().map(({ account, requests }) => [account.day, requests])
  assert.deepEqual(days, [
    ['2026-11-27', 1_000],
    ['2026-11-28', 1_001],
  ])
})

test('what the gateway refused, or could not hand to its service, costs nothing', () => {
  const { record, ...counted } = recorder()
  const refused = { error: new GatewayError('token_expired'), status: 401, cost: 5 }
  record(settled(refused))
  record(settled({ ...refused, error: new GatewayError('upstream_unreachable'), attempts: 1 }))
  assert.equal(counted.only().cost, 0)
  record(settled({ ...refused, error: new GatewayError('upstream_timeout'), attempts: 1 }))
  record(settled({ status: 404, attempts: 1, cost: 5 }))
  assert.equal(counted.only().cost, 10)
})
