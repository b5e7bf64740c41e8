/** The first step of every exchange: which route is it for? What no route answers is refused here. */

import { GatewayError } from './errors.ts'
import { compose, type Exchange, type Handler, type Policy, type RouteInfo } from './exchange.ts'
import { isPreflight } from './policies/cors.ts'
import { decodePath } from './route/path.ts'
import { type Routable, Router, type RouterResult } from './route/router.ts'

export interface DispatchRoute extends Routable, RouteInfo {
  readonly handle: Handler
  /** The gateway answers preflights for it. */
  readonly crossOrigin: boolean
}

/** What stands around a refusal, for a path that has these methods (null: any), so that browsers can read it. */
type Frame = (methods: readonly string[] | null) => Policy[]

/** @param routes in the order of the configuration, which decides between equals */
export function dispatch(routes: readonly DispatchRoute[], frame: Frame): Handler {
  const router = new Router(routes)
  const notFound = refusal(() => new GatewayError('not_found'), null)
  const ambiguous = refusal(() => new GatewayError('ambiguous_path'), null)
  /** One handler for each set of methods that routes have. */
  const notAllowed = new Map<string, Handler>()

  return function dispatch(exchange) {
    const path = decodePath(exchange.rawPath)
    if (path === null) return ambiguous(exchange)
    exchange.path = path
    const found = find(exchange, path)
    // Some servers cut path parameters (`/admin;x`) off before they route: without them it must be the same route.
    if (path.includes(';') && !isSame(found, find(exchange, path.replace(/;[^/]*/g, ''))))
      return ambiguous(exchange)
    switch (found.kind) {
      case 'matched':
        exchange.route = found.route
        exchange.params = found.params
        return found.route.handle(exchange)
      case 'not_found':
        return notFound(exchange)
      case 'method_not_allowed':
        return methodNotAllowed(found.allowed)(exchange)
    }
  }

  /** A preflight asks for the route of the request it announces; to a route without CORS it is an OPTIONS like any other. */
  function find(exchange: Exchange, path: string): RouterResult<DispatchRoute> {
    const { method, headers, host } = exchange
    if (!isPreflight(exchange)) return router.find({ method, host, path, headers })
    const announced = headers.get('access-control-request-method')!
    const found = router.find({ method: announced, host, path, headers })
    if (found.kind !== 'matched' || found.route.crossOrigin) return found
    return router.find({ method, host, path, headers })
  }

  function methodNotAllowed(allowed: readonly string[]): Handler {
    const allow = allowed.join(', ')
    let handler = notAllowed.get(allow)
    if (handler === undefined) {
      handler = refusal(() => new GatewayError('method_not_allowed', { headers: ['Allow', allow] }), allowed)
      notAllowed.set(allow, handler)
    }
    return handler
  }

  function refusal(error: () => GatewayError, methods: readonly string[] | null): Handler {
    return compose(frame(methods), () => {
      throw error()
    })
  }
}

function isSame(a: RouterResult<DispatchRoute>, b: RouterResult<DispatchRoute>): boolean {
  return a.kind === 'matched' && b.kind === 'matched' ? a.route === b.route : a.kind === b.kind
}
