/**
 * THE list of policies, in request order: the table of contents of the gateway. An exchange goes down this list, its
 * reply comes back up. What a route does not ask for is not in its list.
 */

import type { GatewayConfig, RouteConfig } from './config/schema.ts'
import type { Policy } from './exchange.ts'
import type { TokenVerifier } from './identity/verify.ts'
import { authenticate } from './policies/authenticate.ts'
import { authorize } from './policies/authorize.ts'
import { bodyLimit } from './policies/body-limit.ts'
import { cors } from './policies/cors.ts'
import { identityHeaders } from './policies/identity-headers.ts'
import { opaqueKeys } from './policies/opaque-keys.ts'
import { problems } from './policies/problems.ts'

export function pipelineOf(route: RouteConfig, config: GatewayConfig, verifier: TokenVerifier): Policy[] {
  const crossOrigin = route.cors ?? config.cors
  const limit = route.bodyLimit ?? config.bodyLimit
  const { auth } = route
  const steps: (Policy | false)[] = [
    crossOrigin !== false && cors(crossOrigin, route.methods ?? null),
    problems(),
    limit !== undefined && bodyLimit(limit),
    auth !== 'none' && authenticate({ verifier, mode: auth, audience: config.identity.audience }),
    auth !== 'none' && authorize(route),
    auth !== 'none' && identityHeaders(route.claimHeaders),
    auth !== 'required' && opaqueKeys(),
    ...config.policies,
    ...route.policies,
  ]
  return steps.filter(step => step !== false)
}
