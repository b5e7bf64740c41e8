import { parsePattern, type Segment } from '../route/pattern.ts'
import type { Routable } from '../route/router.ts'
import type { RouteConfig } from './schema.ts'

/** What the router asks of a route, from its configuration, which was checked before. */
export function routableOf(route: RouteConfig): Routable {
  return {
    host: route.host?.toLowerCase() ?? null,
    segments: segmentsOf(route.path),
    methods: route.methods === undefined ? null : new Set<string>(route.methods),
    headers: Object.entries(route.headers).map(([name, value]) => [name.toLowerCase(), value] as const),
  }
}

/** @throws TypeError on a pattern that the check of the configuration would have refused */
export function segmentsOf(path: string): readonly Segment[] {
  const segments = parsePattern(path)
  if (typeof segments === 'string') throw new TypeError(`path ${JSON.stringify(path)} ${segments}`)
  return segments
}
