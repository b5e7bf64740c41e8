/**
 * THE list of policies, in request order: the table of contents of the gateway. An exchange goes down this list, its
 * reply comes back up. What a route does not ask for is not in its list.
 */

import type { Gate } from './admission/gate.ts'
import type { CostConfig } from './config/limits.ts'
import type { CorsConfig, GatewayConfig, RouteConfig } from './config/schema.ts'
import type { Policy } from './exchange.ts'
import type { TokenVerifier } from './identity/verify.ts'
import type { Limits } from './limits/limits.ts'
import { authService, type SignOut } from './policies/auth-service.ts'
import { authenticate } from './policies/authenticate.ts'
import { authorize } from './policies/authorize.ts'
import { blockedAddresses } from './policies/blocked.ts'
import { bodyLimit } from './policies/body-limit.ts'
import { clientLimit } from './policies/client-limit.ts'
import { cors, LIMIT_FIELDS, originCheck } from './policies/cors.ts'
import { cost } from './policies/cost.ts'
import { fairQueue } from './policies/fair-queue.ts'
import { identityHeaders } from './policies/identity-headers.ts'
import { opaqueKeys } from './policies/opaque-keys.ts'
import { problems } from './policies/problems.ts'
import { rateLimit, refusalWith } from './policies/rate-limit.ts'
import { type StreamCredentialsOptions, streamCredentials } from './policies/stream-credentials.ts'
import { urlSecrets } from './policies/url-secrets.ts'
import { type WebSocketOptions, websocket } from './policies/websocket.ts'
import type { AskedBlocks } from './store/blocks.ts'
import type { AskedTickets } from './store/tickets.ts'

/** What all pipelines of a gateway have in common. */
export interface PipelineParts {
  readonly verifier: TokenVerifier
  readonly blocks: AskedBlocks
  /** null: none are issued */
  readonly tickets: AskedTickets | null
  readonly signOut: SignOut
  /** null: none are configured */
  readonly limits: Limits | null
  /** What stands in front of the route's upstream; null: nothing */
  readonly gate: Gate | null
}

export function pipelineOf(
  route: RouteConfig,
  config: GatewayConfig,
  { verifier, blocks, tickets, signOut, limits, gate }: PipelineParts,
): Policy[] {
  const crossOrigin = route.cors ?? config.cors
  const limit = route.bodyLimit ?? config.bodyLimit
  const { auth } = route
  const { audience } = config.identity
  const streams = streamOptions(route, tickets)
  // supabase-js takes a 429 from the auth service for the end of the session, a 503 not
  const refuse = refusalWith(route.authService === false ? 'rate_limited' : 'auth_limited')
  const rules = limits?.rulesOf(route, refuse) ?? null
  const steps: (Policy | false)[] = [
    crossOrigin !== false && cors(crossOrigin, route.methods ?? null, limits === null ? [] : LIMIT_FIELDS),
    problems(),
    route.authService !== false && authService({ admin: route.authService.admin, verifier, signOut }),
    blockedAddresses(blocks),
    clientLimit(limits, refuse),
    route.upstream !== undefined && websocket(webSocketOptions(route, crossOrigin, config)),
    limit !== undefined && bodyLimit(limit),
    streams !== null && streamCredentials(streams),
    auth !== 'none' && authenticate({ verifier, blocks, mode: auth, audience, streams: streams !== null }),
    auth !== 'none' && authorize(route),
    (route.cost.weight !== 1 || isReported(route.cost)) && cost(route.cost),
    rules !== null && rateLimit(rules),
    auth !== 'none' && urlSecrets(tickets),
    auth !== 'none' && identityHeaders(route.claimHeaders),
    auth !== 'required' && opaqueKeys(),
    ...config.policies,
    ...route.policies,
    gate !== null && fairQueue(gate),
  ]
  return steps.filter(step => step !== false)
}

const isReported = ({ header, event }: CostConfig): boolean => header !== undefined || event !== undefined

/** null: on this route credentials come in the header alone. */
function streamOptions(route: RouteConfig, tickets: AskedTickets | null): StreamCredentialsOptions | null {
  const { websocket } = route
  const subprotocol = websocket !== false && websocket.tokenInSubprotocol
  if (route.auth === 'none' || !(route.tickets || subprotocol)) return null
  return { tickets: route.tickets ? tickets : null, subprotocol }
}

function webSocketOptions(
  route: RouteConfig,
  crossOrigin: CorsConfig | false,
  { upstreams }: GatewayConfig,
): WebSocketOptions {
  const upstream = typeof route.upstream === 'string' ? upstreams[route.upstream] : route.upstream
  // A WebSocket over HTTP/2 (RFC 8441) is another protocol, which hardly any service speaks.
  const overHttp2 = upstream !== undefined && upstream.protocol !== 'http/1.1'
  return {
    allowed: route.websocket !== false && !overHttp2,
    isAllowedOrigin: crossOrigin === false ? () => false : originCheck(crossOrigin),
  }
}
