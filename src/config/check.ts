/** What a schema cannot say: names that must exist, files that must be readable, rules that must not contradict. */

import { readFileSync } from 'node:fs'
import { isAdminPath } from '../route/auth-paths.ts'
import { parseHost, parsePattern } from '../route/pattern.ts'
import { canonicalName, HOP_BY_HOP } from '../wire/fields.ts'
import { checkLimits } from './check-limits.ts'
import type { SchemaProblem } from './problem.ts'
import {
  type FairQueueConfig,
  type GatewayConfig,
  HMAC_ALGORITHMS,
  type RouteConfig,
  type UpstreamConfig,
} from './schema.ts'
import { checkTls } from './tls.ts'
import { checkUsage } from './usage.ts'
import { serviceUrl } from './values.ts'

/** RFC 6455 §5.5: payload of a control frame. */
const MIN_FRAME_SIZE = 125
export const MIN_SECRET_BYTES = 32
/** Texts that stand for a secret in documents that everybody can read: the first gateway's and Supabase's. */
const PUBLISHED_SECRETS: ReadonlySet<string> = new Set([
  'YOUR_DEFAULT_JWT_SECRET_KEY_CHANGE_ME_IN_ENV_OR_SECRET',
  'TU_SUPABASE_JWT_SECRET_REAL_AQUI',
  'your-super-secret-jwt-token-with-at-least-32-characters-long',
])

export function checkConfig(config: GatewayConfig): SchemaProblem[] {
  const problems: SchemaProblem[] = []
  const report = (path: readonly PropertyKey[], message: string): void => {
    problems.push({ path, message })
  }
  checkIdentity(config, report)
  checkTimeouts(config, report)
  checkTls(config, report)
  checkTickets(config, report)
  checkLimits(config, report)
  checkUsage(config, report)
  checkCaFile(config.redis?.ca, ['redis'], report)
  for (const [name, upstream] of Object.entries(config.upstreams))
    checkUpstream(upstream, ['upstreams', name], report)
  for (const [index, route] of config.routes.entries()) checkRoute(config, route, ['routes', index], report)
  checkDuplicates(config.routes, report)
  return problems
}

type Report = (path: readonly PropertyKey[], message: string) => void

function checkIdentity({ identity, routes }: GatewayConfig, report: Report): void {
  const isHmac = (HMAC_ALGORITHMS as readonly string[]).includes(identity.algorithm)
  if (identity.secret !== undefined) {
    if (!isHmac) {
      report(
        ['identity', 'algorithm'],
        `${identity.algorithm} has no shared secret: give a JWKS URL and remove the secret, or use HS256`,
      )
    }
    checkSecret(identity.secret, report)
  } else if (identity.jwks === undefined && routes.some(route => route.auth !== 'none')) {
    report(
      ['identity'],
      'has no key to verify tokens with: set GATEWAY_JWT_SECRET (HS256) or GATEWAY_JWKS_URL (ES256, RS256, EdDSA)',
    )
  }
}

function checkSecret(secret: string, report: Report): void {
  const remedy = 'copy the JWT secret from the Supabase project settings'
  if (secret === '') report(['identity', 'secret'], `is empty: ${remedy}, or unset the variable`)
  else if (PUBLISHED_SECRETS.has(secret))
    report(['identity', 'secret'], `is a published placeholder: ${remedy}`)
  else if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    report(['identity', 'secret'], `is shorter than ${MIN_SECRET_BYTES} bytes (RFC 7518 §3.2): ${remedy}`)
  }
}

const MAY_BE_ZERO: ReadonlySet<string> = new Set(['drainDelay', 'drainTimeout', 'cooldown'])

/** The durations of a section that must not be zero. */
function timesOf(section: Readonly<Record<string, unknown>>): Record<string, number> {
  const names = Object.keys(section).filter(
    name => /Timeout$|^refresh$|^timeout$/.test(name) && !MAY_BE_ZERO.has(name),
  )
  return Object.fromEntries(names.map(name => [name, section[name] as number]))
}

/** A wait of no time at all fails every request. */
function checkTimeouts(config: GatewayConfig, report: Report): void {
  const places: [readonly PropertyKey[], Partial<Record<string, number>>][] = [
    [['server'], timesOf(config.server)],
    [['identity', 'jwks'], config.identity.jwks === undefined ? {} : timesOf(config.identity.jwks)],
    [['client', 'timeouts'], config.client.timeouts],
    [['tickets'], { lifetime: config.tickets.lifetime }],
  ]
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    places.push([['upstreams', name, 'timeouts'], upstream.timeouts as Partial<Record<string, number>>])
  }
  for (const [index, route] of config.routes.entries()) {
    places.push([['routes', index, 'timeouts'], route.timeouts as Partial<Record<string, number>>])
    if (typeof route.upstream === 'object') {
      const timeouts = route.upstream.timeouts as Partial<Record<string, number>>
      places.push([['routes', index, 'upstream', 'timeouts'], timeouts])
    }
  }
  for (const [path, timeouts] of places) {
    for (const [name, seconds] of Object.entries(timeouts)) {
      if (seconds !== undefined && seconds <= 0) report([...path, name], 'must be longer than 0')
    }
  }
}

function checkTickets({ tickets }: GatewayConfig, report: Report): void {
  const segments = parsePattern(tickets.path)
  if (typeof segments === 'string') report(['tickets', 'path'], segments)
  else if (segments.some(({ kind }) => kind !== 'static'))
    report(['tickets', 'path'], 'must be one path, without {parameter} or *')
}

function checkRoute(
  config: GatewayConfig,
  route: RouteConfig,
  at: readonly PropertyKey[],
  report: Report,
): void {
  const segments = parsePattern(route.path)
  if (typeof segments === 'string') report([...at, 'path'], segments)
  if (route.host !== undefined && parseHost(route.host) === null) {
    report([...at, 'host'], 'is no host: write api.example.com or *.example.com, without port')
  }
  checkTarget(config, route, at, report)
  checkRewrite(route, segments, at, report)
  checkGuards(route, at, report)
  checkStreams(config, route, at, report)
  checkAuthService(route, at, report)
}

function checkStreams(
  { upstreams }: GatewayConfig,
  { websocket, eventStream, upstream, respond, tickets }: RouteConfig,
  at: readonly PropertyKey[],
  report: Report,
): void {
  if (eventStream.heartbeat !== undefined && eventStream.heartbeat <= 0)
    report([...at, 'eventStream', 'heartbeat'], 'must be longer than 0: leave it out for none')
  if (respond !== undefined && tickets)
    report([...at, 'tickets'], 'is for streams, but the route answers by itself')
  if (websocket === false) return
  if (websocket.idleTimeout <= 0) report([...at, 'websocket', 'idleTimeout'], 'must be longer than 0')
  if (websocket.maxFrameSize < MIN_FRAME_SIZE)
    report(
      [...at, 'websocket', 'maxFrameSize'],
      `must be at least ${MIN_FRAME_SIZE} bytes: control frames have to pass`,
    )
  const target = typeof upstream === 'string' ? upstreams[upstream] : upstream
  if (target !== undefined && target.protocol !== 'http/1.1' && websocket.tokenInSubprotocol)
    report([...at, 'websocket'], 'has an upstream that speaks HTTP/2, over which there are no WebSockets')
}

function checkTarget(
  config: GatewayConfig,
  route: RouteConfig,
  at: readonly PropertyKey[],
  report: Report,
): void {
  const { upstream } = route
  if (upstream === undefined && route.respond === undefined) {
    report(at, 'goes nowhere: give an upstream or a respond')
  } else if (upstream !== undefined && route.respond !== undefined) {
    report(at, 'has both an upstream and a respond: keep one')
  }
  if (typeof upstream === 'string' && !Object.hasOwn(config.upstreams, upstream)) {
    if (!/^https?:\/\//.test(upstream)) {
      const known = Object.keys(config.upstreams)
      report(
        [...at, 'upstream'],
        `names no upstream: ${known.length === 0 ? 'none is defined' : `there are ${known.join(', ')}`}`,
      )
    } else {
      const issue = serviceUrl.safeParse(upstream).error?.issues[0]
      if (issue !== undefined) report([...at, 'upstream'], issue.message)
    }
  }
  if (typeof upstream === 'object') checkUpstream(upstream, [...at, 'upstream'], report)
}

function checkRewrite(
  route: RouteConfig,
  segments: ReturnType<typeof parsePattern>,
  at: readonly PropertyKey[],
  report: Report,
): void {
  if (route.rewrite !== undefined && route.stripPrefix !== false) {
    report([...at, 'rewrite'], 'stands beside stripPrefix: keep one')
  }
  if (typeof segments === 'string') return
  const wild = segments.at(-1)?.kind === 'wildcard'
  if (route.stripPrefix === true && !wild) report([...at, 'stripPrefix'], 'needs a path that ends in /*')
  if (
    typeof route.stripPrefix === 'string' &&
    (route.stripPrefix.includes('*') ||
      !`${route.path}/`.startsWith(`${route.stripPrefix.replace(/\/$/, '')}/`))
  ) {
    report([...at, 'stripPrefix'], 'is no prefix of the path, cut between two segments and without the *')
  }
  if (route.rewrite === undefined) return
  const names = new Set(segments.flatMap(segment => (segment.kind === 'parameter' ? [segment.name] : [])))
  for (const [, name] of route.rewrite.matchAll(/\{([^}]*)\}/g)) {
    if (!names.has(name!)) report([...at, 'rewrite'], `uses {${name}}, which the path does not have`)
  }
  if (route.rewrite.includes('*') && !wild)
    report([...at, 'rewrite'], 'uses *, but the path does not end in /*')
  if (/[^\x21-\x7e]|[?#\\]/.test(route.rewrite)) report([...at, 'rewrite'], 'must be a plain path')
}

function checkGuards(route: RouteConfig, at: readonly PropertyKey[], report: Report): void {
  const guarded = Object.keys(route.require.claims).length > 0 || route.require.roles.length > 0
  if (route.auth !== 'required' && guarded) {
    report(
      [...at, 'require'],
      `asks for claims, but auth is ${JSON.stringify(route.auth)}: make it "required"`,
    )
  }
  if (route.auth === 'none' && Object.keys(route.claimHeaders).length > 0) {
    report([...at, 'claimHeaders'], 'needs a token, but auth is "none"')
  }
  if (route.auth === 'none' && route.tickets) {
    report([...at, 'tickets'], 'stand for tokens, but auth is "none"')
  }
  if (route.auth === 'none' && route.websocket !== false && route.websocket.tokenInSubprotocol) {
    report([...at, 'websocket', 'tokenInSubprotocol'], 'is for tokens, but auth is "none"')
  }
  const names = new Map<string, string>()
  for (const name of Object.keys(route.claimHeaders)) {
    const canonical = canonicalName(name)
    const twin = names.get(canonical)
    if (twin !== undefined)
      report([...at, 'claimHeaders', name], `is ${twin} to servers that read _ as -: keep one`)
    names.set(canonical, name)
    if (RESERVED.has(canonical) || canonical.startsWith('x-forwarded-')) {
      report([...at, 'claimHeaders', name], 'is a header that the gateway writes itself: choose another name')
    }
  }
}

/** Such a route would answer with nothing but refusals. */
function checkAuthService(route: RouteConfig, at: readonly PropertyKey[], report: Report): void {
  if (route.authService === false || route.authService.admin) return
  for (const key of ['path', 'rewrite'] as const) {
    if (isAdminPath(route[key]?.replace(/\{[^}]*\}/g, '*') ?? '')) {
      report(
        [...at, key],
        'has a segment that authService closes (admin, invite, scim): name it otherwise, or set authService.admin',
      )
    }
  }
}

const RESERVED: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  'authorization',
  'content-length',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'x-company-id',
  'x-user-id',
  'x-user-email',
  'x-request-id',
  'x-real-ip',
  'via',
])

function checkUpstream(upstream: UpstreamConfig, at: readonly PropertyKey[], report: Report): void {
  checkCaFile(upstream.ca, at, report)
  const { protocol, url } = upstream
  const secure = /^https:/i.test(url)
  if (protocol === 'h2' && !secure)
    report(
      [...at, 'protocol'],
      'is h2, HTTP/2 over TLS, but the url is http: write https, or h2c for HTTP/2 without TLS',
    )
  if (protocol === 'h2c' && secure)
    report(
      [...at, 'protocol'],
      'is h2c, HTTP/2 without TLS, but the url is https: write http, or h2 for HTTP/2 over TLS',
    )
  if (upstream.fairQueue !== undefined) checkFairQueue(upstream.fairQueue, [...at, 'fairQueue'], report)
}

function checkFairQueue(
  { minConcurrency, maxConcurrency, queueTimeout }: FairQueueConfig,
  at: readonly PropertyKey[],
  report: Report,
): void {
  if (minConcurrency > maxConcurrency)
    report([...at, 'minConcurrency'], `is more than maxConcurrency, which is ${maxConcurrency}`)
  if (queueTimeout <= 0) report([...at, 'queueTimeout'], 'must be longer than 0')
}

function checkCaFile(ca: string | undefined, at: readonly PropertyKey[], report: Report): void {
  if (ca === undefined) return
  try {
    if (!readFileSync(ca, 'utf8').includes('-----BEGIN CERTIFICATE-----')) {
      report([...at, 'ca'], 'has no certificate in PEM form in it')
    }
  } catch (error) {
    report([...at, 'ca'], `cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** Routes whose every request fits one listed before: they would never be chosen. */
function checkDuplicates(routes: readonly RouteConfig[], report: Report): void {
  const taken = new Map<string, Map<string, number>>()
  for (const [index, route] of routes.entries()) {
    const shape = route.path.replace(/\{[^}]*\}/g, '{}').replace(/(.)\/$/, '$1')
    const conditions = Object.entries(route.headers).map(([name, value]) => [name.toLowerCase(), value])
    const key = JSON.stringify([route.host?.toLowerCase(), shape, conditions.sort()])
    const byMethod = taken.get(key) ?? new Map<string, number>()
    taken.set(key, byMethod)
    const methods = methodsOf(route)
    if (methods.every(method => byMethod.has(method))) {
      const first = byMethod.get(methods[0]!)
      report(
        ['routes', index],
        `fits the same requests as routes[${first}] (${route.path}) and is never chosen`,
      )
    }
    for (const method of methods) if (!byMethod.has(method)) byMethod.set(method, index)
  }
}

/** GET answers HEAD as well. A route for any method comes after all that name theirs. */
function methodsOf({ methods }: RouteConfig): readonly string[] {
  if (methods === undefined) return ['any method']
  return methods.includes('GET') ? [...new Set([...methods, 'HEAD'])] : methods
}
