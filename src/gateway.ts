/**
 * Configuration → everything that serves requests: routes with their pipelines, pools, keys. Immutable once built: another
 * configuration makes another gateway, which goes on with what it has in common with the one before.
 */

import { isDeepStrictEqual } from 'node:util'
import { type AdmissionSeat, gatesOf } from './admission/gates.ts'
import { routableOf, segmentsOf } from './config/routable.ts'
import type { GatewayConfig, RouteConfig } from './config/schema.ts'
import { type DispatchRoute, dispatch } from './dispatch.ts'
import type { GatewayError } from './errors.ts'
import {
  compose,
  type Exchange,
  type Handler,
  type Policy,
  type Reply,
  type RouteInfo,
  reply,
} from './exchange.ts'
import { JwksKeys } from './identity/jwks.ts'
import { JwksFetcher } from './identity/jwks-fetcher.ts'
import type { KeySource } from './identity/key-source.ts'
import { type Revocations, TokenVerifier } from './identity/verify.ts'
import { Lifetimes } from './lifetimes.ts'
import { type LimitEvents, Limits } from './limits/limits.ts'
import type { LimitStore } from './limits/meter.ts'
import { pipelineOf } from './pipeline.ts'
import type { SignOut } from './policies/auth-service.ts'
import { blockedAddresses } from './policies/blocked.ts'
import { clientLimit } from './policies/client-limit.ts'
import { CORS_FIELDS, cors, isPreflight, LIMIT_FIELDS } from './policies/cors.ts'
import { IDENTITY_HEADERS } from './policies/identity-headers.ts'
import { problems } from './policies/problems.ts'
import { refusalWith } from './policies/rate-limit.ts'
import { problemReply } from './problem.ts'
import { fillTemplate, stripSegments, withoutVersion } from './route/rewrite.ts'
import { serviceRoutes } from './service/routes.ts'
import { takesTickets, ticketRoute } from './service/tickets.ts'
import { type AskedBlocks, Blocks } from './store/blocks.ts'
import { type AskedTickets, Tickets } from './store/tickets.ts'
import { type Endpoint, mergeTimeouts } from './upstream/endpoint.ts'
import { endpointsOf, upstreamKeyOf } from './upstream/endpoints.ts'
import { Http2Pool } from './upstream/http2-pool.ts'
import { createHttp2Sender } from './upstream/http2-send.ts'
import { locationMapper, type PathChange } from './upstream/location.ts'
import { Pool } from './upstream/pool.ts'
import { createSender } from './upstream/send.ts'
import { canonicalName } from './wire/fields.ts'

export interface KeyEvents {
  onKeysFailed(error: unknown): void
  onKeysChanged(keys: number): void
}

export interface GatewayEvents extends KeyEvents, LimitEvents {}

export interface Gateway {
  readonly handle: Handler
  /** The answer for what is refused before a route is looked for, fit for browsers to read. */
  readonly refuse: (exchange: Exchange, error: GatewayError) => Reply | Promise<Reply>
  /** Can answer what its routes promise: keys are at hand. */
  readonly ready: () => boolean
  /** Fetches keys, where it does not go on with those of the gateway before; resolves after the first attempt. */
  start(): Promise<void>
  /** Lets go of keys and of connections to upstreams, but for those that `other` goes on with. */
  close(other?: Gateway): void
  /** From now on it serves: what it goes on with obeys its settings. */
  takeOver(): void
  /** In the order of the configuration. */
  readonly routes: readonly RouteInfo[]
  readonly parts: GatewayParts
}

/** What the gateway that takes its place may go on with. */
interface GatewayParts {
  readonly identity: GatewayConfig['identity']
  readonly keys: Keys | null
  readonly verifier: TokenVerifier
  readonly endpoints: ReadonlyMap<string, Endpoint>
  readonly pools: ReadonlyMap<string, Pool | Http2Pool>
}

interface Keys {
  readonly jwks: JwksKeys
  /** Who has to forget what was verified with keys that were replaced. */
  readonly verifiers: Set<TokenVerifier>
}

/** Fields of answers that the gateway writes itself. */
const OWN_ANSWER_FIELDS = ['content-length', 'x-request-id', 'x-process-time']

/** What upstreams say to an nginx right in front of them. One in front of the gateway is not meant, and would obey. */
const NGINX_FIELDS = [
  'x-accel-buffering',
  'x-accel-charset',
  'x-accel-expires',
  'x-accel-limit-rate',
  'x-accel-redirect',
]

const REPLACED: ReadonlySet<string> = new Set([...OWN_ANSWER_FIELDS, ...CORS_FIELDS, ...NGINX_FIELDS])
/** With limits of its own, whose fields would run together with an upstream's. */
const REPLACED_WITH_LIMITS: ReadonlySet<string> = new Set([...REPLACED, 'ratelimit', 'ratelimit-policy'])
const COOKIES: ReadonlySet<string> = new Set(['cookie'])
const NONE: ReadonlySet<string> = new Set()

/** What a gateway has in common with those of other threads. */
export interface Shared {
  /** Fetches keys for all of them; without it each fetches its own. */
  readonly keys?: KeySource | undefined
  /** Whether all of them can answer what their routes promise. */
  readonly ready?: () => boolean
  readonly revocations?: Revocations
  /** Without them nobody is blocked. */
  readonly blocks?: AskedBlocks
  /** Without it sign-outs go by unheard. */
  readonly signOut?: SignOut
  /** What lasts, in this thread. */
  readonly lifetimes?: Lifetimes
  readonly tickets?: AskedTickets
  /** Keeps the state of limits. */
  readonly limits: LimitStore
  /** Where its requests queue with those of the others. */
  readonly seat: AdmissionSeat
}

/**
 * @param draining whether the gateway is stopping, for its readiness
 * @param before the gateway whose place this one takes
 */
export function buildGateway(
  config: GatewayConfig,
  events: GatewayEvents,
  draining: () => boolean,
  shared: Shared,
  before: GatewayParts | null = null,
): Gateway {
  const keepsKeys = before !== null && isDeepStrictEqual(before.identity.jwks, config.identity.jwks)
  const keys = keepsKeys ? before.keys : keysOf(config, events, shared.keys)
  const keepsVerifier = before !== null && isDeepStrictEqual(before.identity, config.identity)
  const verifier = keepsVerifier
    ? before.verifier
    : verifierOf(config, keys?.jwks ?? null, shared.revocations ?? null)
  keys?.verifiers.add(verifier)
  const blocks = shared.blocks ?? new Blocks()
  const lifetimes =
    shared.lifetimes ?? new Lifetimes(config.identity.leeway, shared.revocations ?? null, blocks)
  const signOut = shared.signOut ?? (() => {})
  const tickets = takesTickets(config) ? (shared.tickets ?? Tickets.create()) : null
  const limits = config.limits === undefined ? null : new Limits(config.limits, shared.limits, events)
  const endpoints = endpointsOf(config)
  const pools = new Map(
    [...endpoints].map(([key, endpoint]) => [key, poolOf(endpoint, before?.pools.get(key))]),
  )
  const { gates, takeOver } = gatesOf(config, shared.seat)
  const keysNeeded = config.routes.some(route => route.auth !== 'none')
  const ready = (): boolean => !draining() && (!keysNeeded || verifier.ready)
  const asserted = assertedNames(config)
  const withCookies = { asserted, dropped: NONE }
  const withoutCookies = { asserted, dropped: COOKIES }

  const compiled = config.routes.map(route => {
    const gate = gates.get(upstreamKeyOf(route, config) ?? '') ?? null
    const policies = pipelineOf(route, config, { verifier, blocks, tickets, signOut, limits, gate })
    const crossOrigin = (route.cors ?? config.cors) !== false
    return compile(route, crossOrigin, compose(policies, terminalOf(route)))
  })
  const services = serviceRoutes(config, { ready: shared.ready ?? ready, draining })
  const refuse = refusalWith('rate_limited')
  if (tickets !== null) {
    const rules = limits?.rulesOf({ name: undefined, path: config.tickets.path }, refuse) ?? null
    services.push(ticketRoute(config, verifier, blocks, tickets, rules))
  }
  const guards = [blockedAddresses(blocks), clientLimit(limits, refuse)].filter(step => step !== false)
  const own = services.map(({ path, methods, probe = false, policies = [], handle }) => ({
    name: `gateway ${path}`,
    path,
    host: null,
    segments: segmentsOf(path),
    methods: new Set(methods),
    headers: [],
    crossOrigin: config.cors !== false,
    handle: compose([...frame(methods), ...(probe ? [] : guards), ...policies], handle),
  }))
  return {
    // Routes of the configuration come first, so that they may take a path such as `/` for themselves.
    handle: dispatch([...compiled, ...own], frame),
    refuse: (exchange, error) => {
      // A preflight would be answered as if nothing were wrong.
      if (isPreflight(exchange)) throw error
      const [outermost] = frame(null)
      return outermost!(exchange, () => problemReply(exchange, error))
    },
    ready,
    async start() {
      if (!keepsKeys) await keys?.jwks.start()
    },
    close(other) {
      if (keys !== other?.parts.keys) keys?.jwks.stop()
      if (verifier !== other?.parts.verifier) keys?.verifiers.delete(verifier)
      const kept = new Set(other?.parts.pools.values())
      for (const pool of pools.values()) if (!kept.has(pool)) pool.close()
    },
    routes: compiled,
    parts: { identity: config.identity, keys, verifier, endpoints, pools },
    takeOver,
  }

  /** What stands around answers that no route gives. */
  function frame(methods: readonly string[] | null): Policy[] {
    const more = limits === null ? [] : LIMIT_FIELDS
    return config.cors === false ? [problems()] : [cors(config.cors, methods, more), problems()]
  }

  function terminalOf(route: RouteConfig): Handler {
    const { respond } = route
    if (respond !== undefined) {
      const isText = typeof respond.body === 'string'
      const body = isText ? (respond.body as string) : JSON.stringify(respond.body)
      const headers = Object.entries(respond.headers).flat()
      if (!isText) headers.push('Content-Type', 'application/json')
      return () => reply(respond.status, [...headers], body)
    }
    const pool = pools.get(upstreamKeyOf(route, config)!)!
    const { change, strippedPrefix } = pathChangeOf(route)
    const { authority, tls, preserveHost, basePath } = pool.endpoint
    const options = {
      timeouts: mergeTimeouts(pool.endpoint.timeouts, route.timeouts),
      // The same objects for all routes: what was derived from a section by them then serves them all.
      rules: route.forwardCookies ? withCookies : withoutCookies,
      replaced: limits === null ? REPLACED : REPLACED_WITH_LIMITS,
      rewrite: change?.rewrite ?? null,
      strippedPrefix,
      location: locationMapper({ authority, secure: tls !== null, preserveHost, basePath, change }),
      eventStreams: { settings: route.eventStream, lifetimes },
    }
    if (pool instanceof Http2Pool) return createHttp2Sender({ ...options, pool })
    return createSender({ ...options, pool, tunnel: route.websocket === false ? null : route.websocket })
  }
}

/** The pool before, while its endpoint stays the same. */
function poolOf(endpoint: Endpoint, before: Pool | Http2Pool | undefined): Pool | Http2Pool {
  if (before !== undefined && isDeepStrictEqual(before.endpoint, endpoint)) return before
  return endpoint.protocol === 'http/1.1' ? new Pool(endpoint) : new Http2Pool(endpoint)
}

function compile(route: RouteConfig, crossOrigin: boolean, handle: Handler): DispatchRoute {
  return { ...routableOf(route), name: route.name ?? route.path, path: route.path, crossOrigin, handle }
}

function pathChangeOf(route: RouteConfig): { change: PathChange | null; strippedPrefix: string | null } {
  const segments = segmentsOf(route.path)
  if (route.rewrite !== undefined) {
    const fixed = segments.filter(({ kind }) => kind !== 'wildcard').length
    return {
      change: { rewrite: fillTemplate(route.rewrite, segments), segments: fixed },
      strippedPrefix: null,
    }
  }
  if (route.stripPrefix === false) return { change: null, strippedPrefix: null }
  const prefix =
    route.stripPrefix === true ? route.path.replace(/\/\*$/, '') : route.stripPrefix.replace(/\/$/, '')
  const count = prefix.split('/').length - 1
  const strip = stripSegments(count)
  const isAuthRoot = route.authService !== false && count >= segments.length - 1
  return {
    change: { rewrite: isAuthRoot ? withoutVersion(strip) : strip, segments: count },
    strippedPrefix: prefix === '' || prefix.includes('{') ? null : prefix,
  }
}

/** Every header that only the gateway may send upstream, on any route. */
function assertedNames(config: GatewayConfig): ReadonlySet<string> {
  const mapped = config.routes.flatMap(route => Object.keys(route.claimHeaders))
  return new Set([...IDENTITY_HEADERS, ...mapped].map(canonicalName))
}

function keysOf(
  { identity: { jwks: settings } }: GatewayConfig,
  events: GatewayEvents,
  shared: KeySource | undefined,
): Keys | null {
  if (settings === undefined) return null
  const source = shared ?? new JwksFetcher(settings, error => events.onKeysFailed(error))
  const verifiers = new Set<TokenVerifier>()
  const jwks = new JwksKeys(source, count => {
    for (const verifier of verifiers) verifier.forget()
    events.onKeysChanged(count)
  })
  return { jwks, verifiers }
}

function verifierOf(
  { identity }: GatewayConfig,
  jwks: JwksKeys | null,
  revocations: Revocations | null,
): TokenVerifier {
  const { secret, algorithm, issuer } = identity
  const isHmac = algorithm === 'HS256' || algorithm === 'HS384' || algorithm === 'HS512'
  const signatures = isHmac ? (identity.jwks?.algorithms ?? []) : [algorithm]
  return new TokenVerifier(
    {
      rules: {
        audience: identity.audience,
        issuers: issuer === undefined ? null : typeof issuer === 'string' ? [issuer] : issuer,
        leeway: identity.leeway,
        tenantClaim: identity.tenantClaim.split('.'),
      },
      secret: secret !== undefined && isHmac ? { algorithm, value: secret } : null,
      // Two names of one algorithm, RFC 8037 and RFC 9864
      signatureAlgorithms: signatures.flatMap(name => (name === 'EdDSA' ? ['EdDSA', 'Ed25519'] : [name])),
      cacheBytes: identity.cacheSize,
    },
    jwks,
    revocations,
  )
}
