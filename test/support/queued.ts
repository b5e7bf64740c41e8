/** A gateway in front of one upstream with a fair queue, and companies that ask it. */

import type { TestContext } from 'node:test'
import type { UpstreamDescription } from '../../src/admin/upstream-table.ts'
import type { GatewayOptions } from '../../src/config/schema.ts'
import { type Answer, bearer, send } from './client.ts'
import { startConfigured } from './configured.ts'
import type { GatewayProcess } from './gateway.ts'
import { type HttpUpstream, httpUpstream } from './http-upstream.ts'
import { claims, token } from './token.ts'
import { until } from './until.ts'

type FairQueue = NonNullable<NonNullable<GatewayOptions['upstreams']>[string]['fairQueue']>

export interface Queued extends GatewayProcess {
  /** What the admin port says of the one upstream. */
  row(): Promise<UpstreamDescription>
  /** Resolves once so many wait. */
  waiting(count: number): Promise<UpstreamDescription>
  ask(company: string, path?: string): Promise<Answer>
}

const credentials = new Map<string, Record<string, string>>()

export function of(company: string): Record<string, string> {
  let headers = credentials.get(company)
  if (headers === undefined) {
    headers = bearer(token(claims({ sub: `user of ${company}`, app_metadata: { company_id: company } })))
    credentials.set(company, headers)
  }
  return headers
}

export async function queued(
  context: TestContext,
  url: string,
  fairQueue: FairQueue,
  over: Partial<GatewayOptions> = {},
  env: Record<string, string> = {},
): Promise<Queued> {
  const gateway = await startConfigured(
    {
      upstreams: { service: { url, fairQueue } },
      routes: [{ path: '/*', upstream: 'service', eventStream: {} }],
      ...over,
    },
    { GATEWAY_ADMIN_PORT: '0', ...env },
  )
  context.after(() => gateway.stop('SIGKILL'))
  const row = async (): Promise<UpstreamDescription> =>
    (await send(`${gateway.adminUrl}/upstreams`)).json()[0]
  return {
    ...gateway,
    row,
    waiting: count =>
      until(`${count} wait`, async () => {
        const found = await row()
        return found.waiting === count && found
      }),
    ask: (company, path = '/work') => send(`${gateway.url}${path}`, { headers: of(company) }),
  }
}

/** A service that answers nothing by itself. */
export async function holding(context: TestContext): Promise<HttpUpstream> {
  const upstream = await httpUpstream(() => {})
  context.after(() => upstream.close())
  return upstream
}
