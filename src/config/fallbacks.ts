import { Router } from '../route/router.ts'
import { METHODS } from '../wire/methods.ts'
import { RequestHeaders } from '../wire/request-headers.ts'
import { routableOf } from './routable.ts'
import type { GatewayConfig } from './schema.ts'

const STRENGTH = { none: 0, optional: 1, required: 2 } as const

/**
 * A route for some methods leaves the others to a less specific one. That is how routes are combined, and how a
 * guarded path becomes a public one by mistake; so it is said.
 * @param config checked before
 */
export function weakerFallbacks(config: GatewayConfig): string[] {
  const entries = config.routes.map((route, index) => ({ ...routableOf(route), route, index }))
  const router = new Router(entries)
  const warnings: string[] = []
  for (const { route, index, host, headers } of entries) {
    if (route.methods === undefined || route.auth === 'none') continue
    const query = {
      host: host?.replace(/^\*/, 'x') ?? '',
      path: route.path.replace(/\{[^}]*\}|\*/g, 'x'),
      headers: new RequestHeaders(headers.flatMap(([name, value]) => [name, value === true ? 'x' : value])),
    }
    const fallen = METHODS.filter(method => {
      const found = router.find({ ...query, method })
      return found.kind === 'matched' && STRENGTH[found.route.route.auth] < STRENGTH[route.auth]
    })
    if (fallen.length === 0) continue
    const [method] = fallen
    const found = router.find({ ...query, method: method! })
    const other = found.kind === 'matched' ? found.route.index : -1
    warnings.push(
      `routes[${index}] guards ${route.path} for ${route.methods.join(', ')} only: ${fallen.join(', ')} falls to ` +
        `routes[${other}], where auth is "${config.routes[other]!.auth}"`,
    )
  }
  return warnings
}
