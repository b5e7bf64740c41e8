/** The one schema of the configuration. Types are inferred from it; unknown keys are refused everywhere. */

import * as z from 'zod'
import type { Policy } from '../exchange.ts'
import { isFieldValue, isToken } from '../wire/fields.ts'
import { METHODS } from '../wire/methods.ts'
import { costSchema, limitsSchema } from './limits.ts'
import { redisSchema } from './redis.ts'
import { usageSchema } from './usage.ts'
import { duration, httpUrl, network, origin, originPattern, port, serviceUrl, size } from './values.ts'

export const LOG_LEVELS = ['debug', 'info', 'warning', 'error', 'critical'] as const
/** More threads than any one machine needs for this work: a bound against typing errors. */
export const MAX_WORKERS = 64
export const HMAC_ALGORITHMS = ['HS256', 'HS384', 'HS512'] as const
export const UPSTREAM_PROTOCOLS = ['http/1.1', 'h2c', 'h2'] as const
export const SIGNATURE_ALGORITHMS = ['ES256', 'RS256', 'EdDSA'] as const

const headerName = z.string().refine(isToken, 'is no header name: letters, digits and hyphens only')
const headerValue = z.string().refine(isFieldValue, 'has characters that no header value may have')
const claimPath = z
  .string()
  .regex(/^[^.\s]+(\.[^.\s]+)*$/, 'is no claim path: write names joined by dots, like app_metadata.role')
const method = z.string().toUpperCase().pipe(z.enum(METHODS))

const server = z.strictObject({
  host: z.string().default('0.0.0.0').describe('address to listen on'),
  port: port.default(8080),
  workers: z
    .union([z.literal('auto'), z.int().min(1).max(MAX_WORKERS)])
    .default('auto')
    .describe('threads that serve; auto: the CPUs granted to the process'),
  trustedProxies: z
    .array(network)
    .default([])
    .describe('peers whose X-Forwarded-For, -Proto and -Host are believed'),
  headerTimeout: duration.default(10).describe('time for a request head to arrive'),
  bodyTimeout: duration.default(30).describe('longest pause within a request body'),
  minBodyRate: z
    .number()
    .min(0)
    .default(240)
    .describe('bytes/s that a request body must keep up on average, after 10 s; 0: any'),
  sendTimeout: duration
    .default(60)
    .describe('how long a client may take nothing of an answer that waits for it'),
  keepAliveTimeout: duration.default(75).describe('idle time after which a client connection is closed'),
  tls: z
    .strictObject({
      cert: z.string().min(1).describe('file with the certificate and its chain, PEM'),
      key: z.string().min(1).describe('file with its private key, PEM'),
      port: port.default(8443).describe('HTTP/1.1 and HTTP/2 over TLS, beside the plain port'),
      minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
      reload: duration.default(10).describe('time between two looks at whether the files have changed'),
    })
    .optional(),
  http2: z
    .strictObject({
      cleartext: z.boolean().default(false).describe('HTTP/2 with prior knowledge (h2c) on the plain port'),
      maxStreams: z
        .int()
        .min(1)
        .max(10_000)
        .default(100)
        .describe('requests that one connection may have open at a time'),
      maxResets: z
        .int()
        .min(1)
        .max(100_000)
        .default(100)
        .describe('requests that one connection may take back per second before it is closed'),
    })
    .prefault({}),
  drainDelay: duration
    .default(0)
    .describe('time between turning unready and closing the listener on SIGTERM'),
  drainTimeout: duration.default(25).describe('time that exchanges in flight get on SIGTERM'),
  reloadOnChange: z
    .boolean()
    .default(false)
    .describe('load the configuration again when its file or .env has changed'),
})

const admin = z.strictObject({
  host: z.string().default('127.0.0.1'),
  port: z.union([z.literal('off'), port]).default(9901),
})

const log = z.strictObject({
  level: z.enum(LOG_LEVELS).default('info'),
  format: z.enum(['auto', 'json', 'pretty']).default('auto').describe('auto: pretty on a terminal'),
})

const identity = z.strictObject({
  secret: z.string().optional().describe('shared secret of the HMAC algorithm'),
  algorithm: z.enum([...HMAC_ALGORITHMS, ...SIGNATURE_ALGORITHMS]).default('HS256'),
  jwks: z
    .strictObject({
      url: httpUrl,
      refresh: duration.default(600).describe('time between regular fetches'),
      cooldown: duration.default(30).describe('time in which an unknown key causes no other fetch'),
      timeout: duration.default(5),
      algorithms: z
        .array(z.enum(SIGNATURE_ALGORITHMS))
        .min(1)
        .default([...SIGNATURE_ALGORITHMS]),
    })
    .optional(),
  issuer: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]).optional(),
  audience: z.string().min(1).default('authenticated'),
  leeway: duration.default(30).describe('by how much clocks may differ'),
  tenantClaim: claimPath.default('app_metadata.company_id'),
  cacheSize: size.default(32 * 1024 ** 2).describe('memory for verified tokens'),
})

const cors = z.strictObject({
  origins: z.array(origin).default([]),
  originPatterns: z.array(originPattern).default([]),
  credentials: z.boolean().default(true),
  methods: z.array(method).optional().describe('default: those of the route'),
  headers: z.array(headerName).optional().describe('allowed request headers; default: those asked for'),
  exposeHeaders: z
    .array(headerName)
    .default([])
    .describe('beside X-Request-ID, X-Process-Time and x-supabase-api-version'),
  maxAge: duration.default(600),
})

const timeouts = z.strictObject({
  connect: duration.optional(),
  firstByte: duration.optional().describe('until the head of the answer is complete'),
  idle: duration.optional().describe('between two chunks of a body'),
})

const fairQueue = z.strictObject({
  concurrency: z
    .union([z.literal('adaptive'), z.int().min(1).max(65_535)])
    .default('adaptive')
    .describe('requests that the upstream gets at a time; adaptive: found from how fast it answers'),
  minConcurrency: z.int().min(1).max(65_535).default(2).describe('least that adaptive may find'),
  maxConcurrency: z.int().min(1).max(65_535).default(1000).describe('most that adaptive may find'),
  queueSize: z.int().min(1).max(100_000).default(500).describe('requests that may wait beyond that'),
  queueTimeout: duration.default(2).describe('how long one may wait'),
  streams: z
    .enum(['lend', 'hold'])
    .optional()
    .describe('whether streams at rest, and those of a company with many, lend their slots to others'),
})

export const upstreamSchema = z.strictObject({
  url: serviceUrl,
  protocol: z
    .enum(UPSTREAM_PROTOCOLS)
    .default('http/1.1')
    .describe('h2c: HTTP/2 without TLS; h2: HTTP/2 over TLS, for gRPC'),
  ca: z.string().optional().describe('file with the certificates to trust, PEM'),
  preserveHost: z.boolean().default(false).describe("send the client's Host instead of the upstream's own"),
  maxConnections: z.int().min(1).max(65_535).optional(),
  maxIdleConnections: z.int().min(0).max(65_535).optional(),
  idleTimeout: duration.default(4).describe("below the upstream's own keep-alive (uvicorn: 5 s)"),
  timeouts: timeouts.default({}),
  fairQueue: z
    .union([z.literal(true), fairQueue])
    .optional()
    .transform(value => (value === true ? fairQueue.parse({}) : value))
    .describe('no more at a time than it can take, and beyond that one company after the other'),
})

/** Defaults of every upstream. */
const client = z.strictObject({
  maxConnections: z.int().min(1).max(65_535).default(1024),
  maxIdleConnections: z.int().min(0).max(65_535).default(256),
  timeouts: z
    .strictObject({
      connect: duration.default(10),
      firstByte: duration.default(60),
      idle: duration.default(60),
    })
    .prefault({}),
})

const websocket = z.strictObject({
  tokenInSubprotocol: z
    .boolean()
    .default(false)
    .describe('take the token from the subprotocol bearer.<token>, for browsers'),
  idleTimeout: duration.default(300).describe('without a byte in either direction'),
  maxFrameSize: size.default(64 * 1024 ** 2).describe('largest frame in either direction'),
  closeCode: z
    .int()
    .min(3000)
    .max(4999)
    .default(4401)
    .describe('when the token expires or is revoked, or its company is blocked'),
})

const eventStream = z.strictObject({
  heartbeat: duration.optional().describe('a comment after so much silence; default: none'),
  errorEvent: z
    .boolean()
    .default(false)
    .describe('an event named error before the gateway ends a stream whose token has expired or was revoked'),
})

const scalar = z.union([z.string(), z.number(), z.boolean()])

const route = z.strictObject({
  name: z.string().min(1).optional(),
  host: z.string().min(1).optional().describe('api.example.com or *.example.com'),
  path: z.string().describe('/exact, /prefix/*, /with/{parameter}'),
  methods: z.array(method).min(1).optional(),
  headers: z
    .record(headerName, z.union([headerValue, z.literal(true)]))
    .default({})
    .describe('must be present, or equal'),
  upstream: z
    .union([z.string().min(1), upstreamSchema])
    .optional()
    .describe('a name from upstreams, a URL, or an upstream of its own'),
  respond: z
    .strictObject({
      status: z.int().min(200).max(599).default(200),
      headers: z.record(headerName, headerValue).default({}),
      body: z.union([z.string(), z.record(z.string(), z.unknown())]).default(''),
    })
    .optional()
    .describe('answer without an upstream'),
  stripPrefix: z
    .union([z.boolean(), z.string().startsWith('/')])
    .default(false)
    .describe('true: all before the * of the path'),
  rewrite: z
    .string()
    .startsWith('/')
    .optional()
    .describe('new path; {parameter} and * stand for what matched'),
  auth: z.enum(['required', 'optional', 'none']).default('required'),
  company: z
    .enum(['required', 'optional'])
    .default('required')
    .describe('whether a token without a company is refused'),
  require: z
    .strictObject({
      claims: z.record(claimPath, z.union([scalar, z.array(scalar).min(1)])).default({}),
      roles: z.array(z.string().min(1)).default([]).describe('one of them must be in rolesClaim'),
      rolesClaim: claimPath.default('role'),
    })
    .prefault({}),
  claimHeaders: z
    .record(headerName, claimPath)
    .default({})
    .describe('header → claim, added to the three identity headers'),
  cors: z
    .union([z.literal(false), cors])
    .optional()
    .describe('false: none; default: the gateway-wide one'),
  websocket: z
    .union([z.boolean(), websocket])
    .default(true)
    .transform(value => (value === true ? websocket.parse({}) : value))
    .describe('false: upgrades are refused'),
  eventStream: eventStream.prefault({}),
  tickets: z
    .boolean()
    .default(false)
    .describe('WebSockets and event streams may come with ?ticket= in place of a token'),
  authService: z
    .union([z.boolean(), z.strictObject({ admin: z.boolean().default(false) })])
    .default(false)
    .transform(value => (value === true ? { admin: false } : value))
    .describe(
      'it is Supabase Auth: sign-outs are heard, and its admin paths are closed unless admin is true',
    ),
  bodyLimit: size.optional(),
  cost: costSchema.prefault(1).describe('what a request counts in rules whose unit is cost'),
  timeouts: timeouts.default({}),
  forwardCookies: z.boolean().default(false),
  policies: z.array(z.custom<Policy>(value => typeof value === 'function', 'is no function')).default([]),
})

export const gatewaySchema = z.strictObject({
  name: z.string().min(1).default('Nyro API Gateway'),
  server: server.prefault({}),
  admin: admin.prefault({}),
  log: log.prefault({}),
  identity: identity.prefault({}),
  cors: z.union([z.literal(false), cors]).prefault({}),
  client: client.prefault({}),
  bodyLimit: size.optional(),
  upstreams: z.record(z.string().min(1), upstreamSchema).default({}),
  policies: z.array(z.custom<Policy>(value => typeof value === 'function', 'is no function')).default([]),
  tickets: z
    .strictObject({
      path: z
        .string()
        .startsWith('/')
        .default('/api/v1/tickets')
        .describe('POST with a token gives a ticket'),
      lifetime: duration.default(30).describe('time in which a ticket must be used'),
    })
    .prefault({}),
  limits: limitsSchema.optional().describe('plans of companies, and what each grants'),
  redis: redisSchema.optional().describe('shared by several gateways: limits, quotas, blocks'),
  usage: usageSchema.optional().describe('counted per company, route and day, for bills'),
  routes: z.array(route).default([]),
})

/** What a config file may say. */
export type GatewayOptions = z.input<typeof gatewaySchema>
/** The same, parsed and defaulted. */
export type GatewayConfig = z.output<typeof gatewaySchema>
export type RouteConfig = GatewayConfig['routes'][number]
export type UpstreamConfig = z.output<typeof upstreamSchema>
export type FairQueueConfig = z.output<typeof fairQueue>
export type CorsConfig = z.output<typeof cors>

/** Types a config in TypeScript: `export default defineGateway({ … })`. */
export function defineGateway(options: GatewayOptions): GatewayOptions {
  return options
}
