/** May they? A usable company, and the claims and roles that a route asks for. */

import type { RouteConfig } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { Policy } from '../exchange.ts'
import { claimAt } from '../identity/claims.ts'
import type { Claims } from '../identity/identity.ts'

type Condition = (claims: Claims) => boolean

export function authorize(route: Pick<RouteConfig, 'company' | 'require'>): Policy {
  const companyNeeded = route.company === 'required'
  const conditions = conditionsOf(route.require)

  return function authorize(exchange, next) {
    const { identity } = exchange
    // Nobody came in through `auth: optional`; there is nothing to hold against a route's conditions then.
    if (identity === null) return next(exchange)
    if (companyNeeded && identity.companyId === null) throw new GatewayError('company_missing')
    for (const condition of conditions) {
      if (!condition(identity.claims)) throw new GatewayError('claim_required')
    }
    return next(exchange)
  }
}

function conditionsOf(require: RouteConfig['require']): Condition[] {
  const conditions = Object.entries(require.claims).map(([path, accepted]): Condition => {
    const values: readonly unknown[] = Array.isArray(accepted) ? accepted : [accepted]
    return oneOf(path.split('.'), values)
  })
  if (require.roles.length > 0) conditions.push(oneOf(require.rolesClaim.split('.'), require.roles))
  return conditions
}

/** The claim has one of the values, or is a list with one of them in it. */
function oneOf(path: readonly string[], values: readonly unknown[]): Condition {
  return claims => {
    const claim = claimAt(claims, path)
    return Array.isArray(claim) ? claim.some(item => values.includes(item)) : values.includes(claim)
  }
}
