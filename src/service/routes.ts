/** What the gateway serves itself: its name, its health, its description. */

import type { GatewayConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { type Handler, json, type Policy, reply } from '../exchange.ts'
import { docsPage } from './docs.ts'
import { openapiDocument } from './openapi.ts'

export interface ServiceRoute {
  readonly path: string
  readonly methods: readonly string[]
  /** Asked by load balancers and monitoring, from addresses that nobody can mean to block. */
  readonly probe?: boolean
  /** What stands in front of it, behind CORS. */
  readonly policies?: readonly Policy[]
  readonly handle: Handler
}

export interface ServiceState {
  readonly ready: () => boolean
  readonly draining: () => boolean
}

export function serviceRoutes(config: GatewayConfig, state: ServiceState): ServiceRoute[] {
  const methods = ['GET']
  // Made when first asked for: neither is needed to serve traffic.
  const document = once(() => JSON.stringify(openapiDocument(config)))
  const page = once(() => docsPage(config))
  return [
    { path: '/', methods, handle: () => json(200, { message: `${config.name} is running!` }) },
    {
      path: '/health',
      methods,
      probe: true,
      handle: () => json(200, { status: 'healthy', service: config.name }),
    },
    { path: '/ready', methods, probe: true, handle: () => readiness(state) },
    {
      path: '/openapi.json',
      methods,
      handle: () => reply(200, ['Content-Type', 'application/json'], document()),
    },
    { path: '/docs', methods, handle: () => reply(200, [...PAGE_HEADERS], page()) },
  ]
}

function once(make: () => string): () => string {
  let made: string | null = null
  return () => {
    made ??= make()
    return made
  }
}

const PAGE_HEADERS = [
  'Content-Type',
  'text/html; charset=utf-8',
  'Content-Security-Policy',
  "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'X-Content-Type-Options',
  'nosniff',
  'Referrer-Policy',
  'no-referrer',
]

/** For load balancers: traffic is welcome. */
export function readiness(state: ServiceState) {
  if (!state.ready()) {
    throw new GatewayError(state.draining() ? 'not_ready' : 'keys_unavailable', {
      headers: ['Retry-After', '1'],
    })
  }
  return json(200, { status: 'ready' })
}
