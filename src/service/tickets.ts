/** `POST` with a token gives a ticket: for streams of browsers, which cannot send the token itself. */

import type { GatewayConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { type Exchange, json, type Reply } from '../exchange.ts'
import type { TokenVerifier } from '../identity/verify.ts'
import type { RouteRules } from '../limits/plans.ts'
import { authenticate, bearerOf } from '../policies/authenticate.ts'
import { authorize } from '../policies/authorize.ts'
import { rateLimit } from '../policies/rate-limit.ts'
import { ticketPayload } from '../policies/stream-credentials.ts'
import type { AskedBlocks } from '../store/blocks.ts'
import { type AskedTickets, MAX_PAYLOAD } from '../store/tickets.ts'
import type { ServiceRoute } from './routes.ts'

/** Some route takes tickets. */
export function takesTickets({ routes }: Pick<GatewayConfig, 'routes'>): boolean {
  return routes.some(route => route.tickets && route.auth !== 'none')
}

/** @param rules of plans: there are so many tickets at a time, for all companies together; null: there are no plans */
export function ticketRoute(
  config: GatewayConfig,
  verifier: TokenVerifier,
  blocks: AskedBlocks,
  tickets: AskedTickets,
  rules: RouteRules | null,
): ServiceRoute {
  const { path, lifetime } = config.tickets
  // Whether a route wants a company is asked again when the ticket is used.
  const companyNeeded = config.routes.every(route => !route.tickets || route.company === 'required')
  return {
    path,
    methods: ['POST'],
    policies: [
      authenticate({ verifier, blocks, mode: 'required', audience: config.identity.audience }),
      authorize({
        company: companyNeeded ? 'required' : 'optional',
        require: { claims: {}, roles: [], rolesClaim: 'role' },
      }),
      ...(rules === null ? [] : [rateLimit(rules)]),
    ],
    handle: issue,
  }

  function issue({ headers }: Exchange): Reply | Promise<Reply> {
    const bearer = headers.derived.get(bearerOf, bearerOf)
    // `authenticate` lets nothing else pass
    if (bearer.kind !== 'token') throw new GatewayError('not_authenticated')
    const payload = ticketPayload(headers.get('origin') ?? '', bearer.token)
    if (payload.length > MAX_PAYLOAD)
      throw new GatewayError('headers_too_large', { detail: 'The Origin is too long.' })
    const now = Date.now()
    const ticket = tickets.issue(payload, now + lifetime * 1000, now)
    return ticket instanceof Promise ? ticket.then(hand) : hand(ticket)
  }

  function hand(ticket: string | null): Reply {
    if (ticket === null) throw new GatewayError('tickets_exhausted', { headers: ['Retry-After', '1'] })
    return json(201, { ticket, expires_in: lifetime }, ['Cache-Control', 'no-store'])
  }
}
