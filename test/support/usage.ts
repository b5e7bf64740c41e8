/** What the admin port says was used. */

import assert from 'node:assert/strict'
import { bearer, send } from './client.ts'
import type { GatewayProcess } from './gateway.ts'
import { claims, token } from './token.ts'
import { until } from './until.ts'

export interface UsageRow {
  readonly company: string | null
  readonly route: string | null
  readonly requests: number
  readonly errors: number
  readonly refused: number
  readonly bytes_in: number
  readonly bytes_out: number
  readonly cost: number
  readonly upstream_seconds: number
}

/** Header of a user of that company. */
export const ofCompany = (company: string): Record<string, string> =>
  bearer(token(claims({ app_metadata: { company_id: company } })))

async function usageOf(gateway: GatewayProcess, query = ''): Promise<UsageRow[]> {
  const answer = await send(`${gateway.adminUrl}/usage?by=company,route${query}`)
  assert.equal(answer.status, 200, answer.text)
  return answer.json().rows
}

/** The row of one company and route, or zeroes. */
export async function rowOf(
  gateway: GatewayProcess,
  company: string | null,
  route: string | null,
): Promise<UsageRow> {
  const rows = await usageOf(gateway)
  const none = { requests: 0, errors: 0, refused: 0, bytes_in: 0, bytes_out: 0, cost: 0, upstream_seconds: 0 }
  return rows.find(row => row.company === company && row.route === route) ?? { company, route, ...none }
}

/** Exchanges are counted when they have ended, which may be a moment after their last byte arrived. */
export function counted(
  gateway: GatewayProcess,
  company: string | null,
  route: string | null,
  requests: number,
): Promise<UsageRow> {
  return until(`${requests} requests of ${company} are counted`, async () => {
    const row = await rowOf(gateway, company, route)
    assert.ok(row.requests <= requests, `${row.requests} instead of ${requests}`)
    return row.requests === requests && row
  })
}
