/**
 * Policies of one's own. They have the type of the built-in ones and run after them, so the token is already checked:
 * `exchange.identity` says who asks. Each is a factory that returns a named function, for readable stack traces.
 */

import { type Exchange, GatewayError, type Policy } from 'nyro-gateway'

export type Plan = 'free' | 'pro' | 'enterprise'

const PLANS: readonly string[] = ['free', 'pro', 'enterprise'] satisfies Plan[]

/** Tells the service which plan the company has. */
export function planHeader(name: string): Policy {
  return function planHeader(exchange, next) {
    const plan = planOf(exchange)
    // Set or removed, always: otherwise a client could send the header itself.
    if (plan === null) exchange.upstreamHeaders.remove(name)
    else exchange.upstreamHeaders.set(name, plan)
    return next(exchange)
  }
}

/** Lets pass who has one of these plans. Throwing refuses: the gateway makes the answer, with CORS and request id. */
export function requirePlan(...accepted: Plan[]): Policy {
  const detail = `This needs the plan ${accepted.join(' or ')}.`

  return function requirePlan(exchange, next) {
    const plan = planOf(exchange)
    if (plan === null || !accepted.includes(plan)) throw new GatewayError('claim_required', { detail })
    return next(exchange)
  }
}

/** Shows in the browser's developer tools how long the service took to begin its answer. */
export function serverTiming(): Policy {
  return async function serverTiming(exchange, next) {
    const startedAt = performance.now()
    // The reply comes with its head; its body is still on the way and streams past.
    const answer = await next(exchange)
    answer.headers.push('Server-Timing', `upstream;dur=${(performance.now() - startedAt).toFixed(1)}`)
    return answer
  }
}

/** From app_metadata, which only the project's own services write; users can write user_metadata. */
function planOf({ identity }: Exchange): Plan | null {
  const metadata = identity?.claims.app_metadata
  const plan = typeof metadata === 'object' && metadata !== null && 'plan' in metadata ? metadata.plan : null
  return typeof plan === 'string' && PLANS.includes(plan) ? (plan as Plan) : null
}
