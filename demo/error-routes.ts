import type { GatewayOptions } from '../src/config/schema.ts'
import { type ErrorCode, GatewayError } from '../src/errors.ts'
import { type Policy, reply } from '../src/exchange.ts'

type Route = NonNullable<GatewayOptions['routes']>[number]

export const errorsPath = '/demo/errors'
const plainText = ['Content-Type', 'text/plain; charset=utf-8']

/** tcpmux: only root could listen there, and nobody has for decades. */
const nobody = 'http://127.0.0.1:1'

/**
 * Routes of errors that the demo's services and tokens do not bring about by themselves, and the page that lists
 * every error.
 *
 * @param query name of the upstream that the query service is
 * @param page makes the page each time it is asked for, so that its tokens are fresh
 */
export function errorRoutes(query: string, page: () => Promise<string>): Route[] {
  return [
    route('unreachable', { upstream: nobody }),
    // Waits as long as `ms` says; the gateway does so for a second.
    route('slow', { upstream: query, rewrite: '/api/v1/query/slow', timeouts: { firstByte: '1s' } }),
    route('auth-not-configured', answeredBy(refusal('auth_not_configured'))),
    route('not-ready', answeredBy(refusal('not_ready'))),
    route('fault', answeredBy(fault)),
    route(
      'errors',
      answeredBy(async () => reply(200, [...plainText], await page())),
    ),
  ]
}

function route(name: string, rest: Partial<Route>): Route {
  return { name: `demo ${name}`, path: `/demo/${name}`, methods: ['GET'], auth: 'none', ...rest }
}

/** A route must end somewhere, even behind a policy that lets nothing pass. */
function answeredBy(policy: Policy): Partial<Route> {
  return { policies: [policy], respond: { status: 200 } }
}

function refusal(code: ErrorCode): Policy {
  return function refuse() {
    throw new GatewayError(code)
  }
}

function fault(): never {
  throw new Error('This policy of the demo is broken on purpose.')
}
