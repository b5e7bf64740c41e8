import type { GatewayConfig, RouteConfig } from '../config/schema.ts'

/** One route in words: what it takes, where it goes, what guards it. */
export interface RouteDescription {
  readonly name: string
  readonly methods: string
  readonly match: string
  readonly target: string
  readonly guards: string
}

/** The routes of a configuration in its order, for people. Secrets and credentials have no place in it. */
export function describeRoutes(config: GatewayConfig): RouteDescription[] {
  return config.routes.map(route => ({
    name: route.name ?? route.path,
    methods: route.methods?.join(',') ?? 'any',
    match: matchOf(route),
    target: targetOf(route, config),
    guards: guardsOf(route, config),
  }))
}

function matchOf(route: RouteConfig): string {
  const headers = Object.entries(route.headers).map(
    ([name, value]) => ` [${name}${value === true ? '' : `=${value}`}]`,
  )
  return `${route.host ?? ''}${route.path}${headers.join('')}`
}

function targetOf(route: RouteConfig, config: GatewayConfig): string {
  if (route.respond !== undefined) return `answers ${route.respond.status}`
  const { upstream } = route
  const url = typeof upstream === 'object' ? upstream.url : (config.upstreams[upstream!]?.url ?? upstream!)
  if (route.rewrite !== undefined) return `${url}${route.rewrite}`
  if (route.stripPrefix === false) return url
  return `${url} (without ${route.stripPrefix === true ? route.path.replace(/\/\*$/, '') : route.stripPrefix})`
}

function guardsOf(route: RouteConfig, config: GatewayConfig): string {
  const guards: string[] = []
  if (route.auth === 'none') guards.push('PUBLIC')
  else
    guards.push(
      route.auth === 'required' ? 'token' : 'token if sent',
      ...(route.company === 'required' ? ['company'] : []),
    )
  if (route.require.roles.length > 0) guards.push(`role ${route.require.roles.join('|')}`)
  for (const [claim, value] of Object.entries(route.require.claims)) {
    guards.push(`${claim}=${Array.isArray(value) ? value.join('|') : value}`)
  }
  const limit = route.bodyLimit ?? config.bodyLimit
  if (limit !== undefined) guards.push(`body ≤ ${limit}`)
  if ((route.cors ?? config.cors) === false) guards.push('no CORS')
  const own = route.policies.map(policy => policy.name || 'policy')
  return [...guards, ...own].join(', ')
}
