/** Exchanges as the edge makes them, for policies on their own. */

import { Exchange, type RequestBody } from '../../src/exchange.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { RequestFraming } from '../../src/wire/request-head.ts'
import { RequestHeaders } from '../../src/wire/request-headers.ts'

export interface ExchangeOptions {
  readonly method?: string
  readonly target?: string
  /** Flat: `[name, value, …]`. */
  readonly headers?: string[]
  readonly framing?: RequestFraming
  readonly body?: RequestBody
  readonly identity?: Identity
  readonly protocol?: 'http' | 'https'
  readonly upgrade?: boolean
}

export function exchangeOf(options: ExchangeOptions = {}): Exchange {
  const headers = new RequestHeaders(options.headers ?? [])
  const exchange = new Exchange({
    id: 'test',
    startedAt: performance.now(),
    method: options.method ?? 'GET',
    target: options.target ?? '/',
    authority: 'gateway.test',
    host: 'gateway.test',
    headers,
    client: { ip: '127.0.0.1', protocol: options.protocol ?? 'http', forwardedLines: '' },
    framing: options.framing ?? 'none',
    expectContinue: false,
    body: options.body ?? null,
    upgrade: options.upgrade ?? false,
  })
  exchange.identity = options.identity ?? null
  return exchange
}

export function identityOf(over: Partial<Identity> = {}): Identity {
  return {
    userId: 'u1',
    companyId: 'acme',
    email: null,
    claims: {},
    expiresAt: Date.now() / 1000 + 3600,
    issuedAt: Date.now() / 1000,
    sessionId: null,
    ...over,
  }
}
