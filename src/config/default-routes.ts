/** The routes that environment variables alone describe: those of the first gateway. */

import { GatewayError } from '../errors.ts'
import type { Environment } from './env.ts'
import type { GatewayOptions } from './schema.ts'

const INGEST_DEFAULT = 'http://ingest-api-service.nyro-develop.svc.cluster.local:80'
const QUERY_DEFAULT = 'http://query-service.nyro-develop.svc.cluster.local:80'

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH']

type Services = { [K in 'upstreams' | 'routes']-?: NonNullable<GatewayOptions[K]> }

export function defaultRoutes(environment: Environment): {
  options: Services
  origins: ReadonlyMap<string, string>
} {
  const ingest = environment.GATEWAY_INGEST_SERVICE_URL || INGEST_DEFAULT
  const query = environment.GATEWAY_QUERY_SERVICE_URL || QUERY_DEFAULT
  const auth = environment.GATEWAY_AUTH_SERVICE_URL
  const authPath = '/api/v1/auth/*'
  // Browsers cannot set headers on a WebSocket or an EventSource: another way in, for those alone.
  const streams = { tickets: true, websocket: { tokenInSubprotocol: true } }
  const options: Services = {
    upstreams: { ingest: { url: ingest }, query: { url: query } },
    routes: [
      { name: 'ingest', path: '/api/v1/ingest/*', methods: METHODS, upstream: 'ingest', ...streams },
      { name: 'query', path: '/api/v1/query/*', methods: METHODS, upstream: 'query', ...streams },
    ],
  }
  const authRoute = {
    name: 'auth',
    path: authPath,
    methods: [...METHODS, 'OPTIONS'],
    auth: 'none' as const,
    authService: { admin: isTrue(environment.GATEWAY_AUTH_ALLOW_ADMIN) },
  }
  if (auth) {
    options.upstreams.auth = { url: auth }
    const stripPrefix = isTrue(environment.GATEWAY_AUTH_STRIP_PREFIX)
    options.routes.push({ ...authRoute, upstream: 'auth', stripPrefix })
  } else {
    options.routes.push({ ...authRoute, policies: [authNotConfigured], respond: { status: 501 } })
  }
  return {
    options,
    origins: new Map([
      ['upstreams.ingest.url', 'GATEWAY_INGEST_SERVICE_URL'],
      ['upstreams.query.url', 'GATEWAY_QUERY_SERVICE_URL'],
      ['upstreams.auth.url', 'GATEWAY_AUTH_SERVICE_URL'],
    ]),
  }
}

function isTrue(text = ''): boolean {
  return /^(1|true|yes|on)$/i.test(text)
}

function authNotConfigured(): never {
  throw new GatewayError('auth_not_configured')
}
