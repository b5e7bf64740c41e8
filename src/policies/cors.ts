/** CORS as the Fetch standard has it: preflights answered here, every other answer marked for the browser. */

import type { CorsConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { type Exchange, type Policy, type Reply, reply } from '../exchange.ts'
import { isToken } from '../wire/fields.ts'

/** What scripts need for error reports and for supabase-js. */
const EXPOSED = ['X-Request-ID', 'X-Process-Time', 'x-supabase-api-version']
/** What tells them how long to wait. */
export const LIMIT_FIELDS = ['RateLimit', 'RateLimit-Policy', 'Retry-After']

/** Fields of the upstream's own CORS that must not stand beside the gateway's. */
export const CORS_FIELDS = [
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-allow-methods',
  'access-control-allow-headers',
  'access-control-expose-headers',
  'access-control-max-age',
  'access-control-allow-private-network',
]

/**
 * @param methods those of the route, for preflights; null: any
 * @param more fields of its answers that scripts may read
 */
export function cors(
  config: CorsConfig,
  methods: readonly string[] | null,
  more: readonly string[] = [],
): Policy {
  const isAllowed = originCheck(config)
  const exposed = [...EXPOSED, ...more, ...config.exposeHeaders].join(', ')
  const allowedMethods = (
    config.methods ??
    methods ?? ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
  ).join(', ')

  return function cors(exchange, next) {
    const origin = exchange.headers.get('origin')
    if (origin === undefined) return mark(next(exchange), null)
    const allowed = isAllowed(origin) ? origin : null
    if (isPreflight(exchange)) return preflight(exchange, allowed)
    return mark(next(exchange), allowed)
  }

  function mark(result: Reply | Promise<Reply>, origin: string | null): Reply | Promise<Reply> {
    return result instanceof Promise ? result.then(answer => marked(answer, origin)) : marked(result, origin)
  }

  function marked(answer: Reply, origin: string | null): Reply {
    // Also without an origin: a cache must not hand this answer to a browser that sends one.
    answer.headers.push('Vary', 'Origin')
    if (origin === null) return answer
    answer.headers.push('Access-Control-Allow-Origin', origin, 'Access-Control-Expose-Headers', exposed)
    if (config.credentials) answer.headers.push('Access-Control-Allow-Credentials', 'true')
    return answer
  }

  function preflight(exchange: Exchange, origin: string | null): Reply {
    if (origin === null) throw new GatewayError('cors_origin', { headers: ['Vary', 'Origin'] })
    const answer = reply(204, [
      'Vary',
      'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
      'Access-Control-Allow-Origin',
      origin,
      'Access-Control-Allow-Methods',
      allowedMethods,
      'Access-Control-Max-Age',
      String(config.maxAge),
    ])
    const headers = config.headers?.join(', ') ?? requestedHeaders(exchange)
    if (headers !== '') answer.headers.push('Access-Control-Allow-Headers', headers)
    if (config.credentials) answer.headers.push('Access-Control-Allow-Credentials', 'true')
    return answer
  }
}

/** Whether an Origin is one of those that the settings allow. */
export function originCheck({
  origins,
  originPatterns,
}: Pick<CorsConfig, 'origins' | 'originPatterns'>): (origin: string) => boolean {
  const exact = new Set(origins)
  return origin => exact.has(origin) || originPatterns.some(pattern => pattern.matches(origin))
}

/** The headers that a preflight asks for, those that are header names. */
function requestedHeaders(exchange: Exchange): string {
  const asked = exchange.headers.getAll('access-control-request-headers').flatMap(value => value.split(','))
  return asked
    .map(name => name.trim())
    .filter(isToken)
    .join(', ')
}

/** Fetch §3.3.6: OPTIONS with an origin and the method to come. */
export function isPreflight(exchange: Pick<Exchange, 'method' | 'headers'>): boolean {
  return (
    exchange.method === 'OPTIONS' &&
    exchange.headers.get('origin') !== undefined &&
    exchange.headers.get('access-control-request-method') !== undefined
  )
}
