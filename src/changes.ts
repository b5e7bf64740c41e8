/** Two configurations held against each other: which routes and upstreams go on as they were. */

import { isDeepStrictEqual } from 'node:util'
import type { GatewayConfig, RouteConfig } from './config/schema.ts'
import type { Endpoint } from './upstream/endpoint.ts'
import { upstreamKeyOf } from './upstream/endpoints.ts'

/** A configuration, and its upstreams as they were read together with it: files with certificates change too. */
export interface Configured {
  readonly config: GatewayConfig
  readonly endpoints: ReadonlyMap<string, Endpoint>
}

export interface Changes {
  /** Of each route before, the place of the same route after, or null. */
  readonly successors: readonly (number | null)[]
  // Names of routes
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
  /** Numbers of upstreams: those of before whose connections stay, and those whose do not. */
  readonly upstreams: { readonly kept: number; readonly closed: number }
}

/**
 * A route is the same when everything that decides about its requests is: its own settings, its upstream's, who is let
 * in, and what stands around all routes. Functions are compared by identity: those of a config module are others as soon
 * as its file is another.
 */
export function changesBetween(old: Configured, now: Configured): Changes {
  const { config: before } = old
  const { config: after } = now
  const sameGuards = isDeepStrictEqual(commonGuards(before), commonGuards(after))
  const sameIdentity = isDeepStrictEqual(admission(before), admission(after))
  const isSame = (one: RouteConfig, other: RouteConfig): boolean =>
    sameGuards &&
    (sameIdentity || one.auth === 'none') &&
    isDeepStrictEqual(one, other) &&
    isDeepStrictEqual(one.cors ?? before.cors, other.cors ?? after.cors) &&
    isDeepStrictEqual(one.bodyLimit ?? before.bodyLimit, other.bodyLimit ?? after.bodyLimit) &&
    isDeepStrictEqual(
      old.endpoints.get(upstreamKeyOf(one, before) ?? ''),
      now.endpoints.get(upstreamKeyOf(other, after) ?? ''),
    )

  const open = placesByName(after.routes)
  const successors = before.routes.map(route => {
    const places = open.get(nameOf(route)) ?? []
    const at = places.findIndex(place => isSame(route, after.routes[place]!))
    return at === -1 ? null : places.splice(at, 1)[0]!
  })
  const changed: string[] = []
  const removed: string[] = []
  for (const [place, route] of before.routes.entries()) {
    if (successors[place] !== null) continue
    const name = nameOf(route)
    const isThere = open.get(name)?.shift() !== undefined
    ;(isThere ? changed : removed).push(name)
  }
  const added = [...open].flatMap(([name, places]) => places.map(() => name))
  return { successors, added, changed, removed, upstreams: keptOf(old.endpoints, now.endpoints) }
}

const nameOf = ({ name, path }: RouteConfig): string => name ?? path

function placesByName(routes: readonly RouteConfig[]): Map<string, number[]> {
  const places = new Map<string, number[]>()
  for (const [place, route] of routes.entries()) {
    const known = places.get(nameOf(route))
    if (known === undefined) places.set(nameOf(route), [place])
    else known.push(place)
  }
  return places
}

/**
 * What counts for all routes: every section but those that are compared by themselves, or decide about none. Limits are
 * held against a request when it comes: what has been let in may stay.
 */
function commonGuards(config: GatewayConfig): unknown {
  const { name, server, admin, log, tickets, client, upstreams, routes, ...rest } = config
  const { identity, cors, bodyLimit, limits, redis, usage, ...guards } = rest
  return guards
}

/** Who is let in: all of `identity` but for how much is remembered, and when keys are fetched. */
function admission({ identity: { cacheSize, jwks, ...rest } }: GatewayConfig): unknown {
  return { ...rest, jwks: jwks === undefined ? null : { url: jwks.url, algorithms: jwks.algorithms } }
}

function keptOf(before: ReadonlyMap<string, Endpoint>, after: ReadonlyMap<string, Endpoint>) {
  let kept = 0
  for (const [key, endpoint] of before) if (isDeepStrictEqual(endpoint, after.get(key))) kept++
  return { kept, closed: before.size - kept }
}
