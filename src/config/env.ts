/** Settings from the environment, under the names that the first gateway used and new ones after its fashion. */

import { HMAC_ALGORITHMS, LOG_LEVELS, SIGNATURE_ALGORITHMS } from './schema.ts'

export type Environment = Readonly<Record<string, string | undefined>>

type Path = readonly string[]

interface Setting {
  readonly path: Path
  readonly read?: (text: string) => unknown
  /** What it does, for `--help` and the documentation. */
  readonly help: string
}

const list = (text: string): string[] =>
  text
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '')
const lower = (text: string): string => text.trim().toLowerCase()
/** Left as text when it is no number: the schema then says what is wrong with it. */
const number = (text: string): unknown => (/^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : text)
const logLevel = (text: string): string =>
  ({ warn: 'warning', fatal: 'critical' })[lower(text)] ?? lower(text)
const autoOrNumber = (text: string): unknown => (lower(text) === 'auto' ? 'auto' : number(text))
/** Left as text when it is neither: the schema then says what is wrong with it. */
const flag = (text: string): unknown => ({ true: true, false: false })[lower(text)] ?? text
const offOrPort = (text: string): string => (lower(text) === 'off' ? 'off' : text)

/** Everything that maps one to one. Lists of origins are read below, the services in default-routes.ts. */
export const SETTINGS: Readonly<Record<string, Setting>> = {
  PORT: { path: ['server', 'port'], help: 'port to listen on (8080)' },
  GATEWAY_HOST: { path: ['server', 'host'], help: 'address to listen on (0.0.0.0)' },
  GATEWAY_WORKERS: {
    path: ['server', 'workers'],
    read: autoOrNumber,
    help: 'threads that serve, or auto: one for each granted CPU (auto)',
  },
  GATEWAY_TLS_CERT: {
    path: ['server', 'tls', 'cert'],
    help: 'file with the certificate and its chain, for HTTP/1.1 and HTTP/2 over TLS',
  },
  GATEWAY_TLS_KEY: { path: ['server', 'tls', 'key'], help: 'file with its private key' },
  GATEWAY_TLS_PORT: { path: ['server', 'tls', 'port'], help: 'port for TLS, beside the plain one (8443)' },
  GATEWAY_HTTP2_CLEARTEXT: {
    path: ['server', 'http2', 'cleartext'],
    read: flag,
    help: 'true: HTTP/2 with prior knowledge on the plain port (false)',
  },
  GATEWAY_PROJECT_NAME: { path: ['name'], help: 'name in / and /health (Nyro API Gateway)' },
  GATEWAY_LOG_LEVEL: { path: ['log', 'level'], read: logLevel, help: `${LOG_LEVELS.join(', ')} (info)` },
  GATEWAY_LOG_FORMAT: { path: ['log', 'format'], read: lower, help: 'auto, json, pretty (auto)' },
  GATEWAY_JWT_SECRET: {
    path: ['identity', 'secret'],
    help: 'shared secret of the project, 32 bytes or more',
  },
  GATEWAY_JWT_ALGORITHM: {
    path: ['identity', 'algorithm'],
    help: `${[...HMAC_ALGORITHMS, ...SIGNATURE_ALGORITHMS].join(', ')} (HS256)`,
  },
  GATEWAY_JWKS_URL: {
    path: ['identity', 'jwks', 'url'],
    help: 'where the public keys are, with or without a secret',
  },
  GATEWAY_JWKS_COOLDOWN: {
    path: ['identity', 'jwks', 'cooldown'],
    help: 'seconds between fetches for unknown keys (30)',
  },
  GATEWAY_JWT_ISSUER: {
    path: ['identity', 'issuer'],
    read: list,
    help: 'accepted issuers, comma-separated (any)',
  },
  GATEWAY_JWT_AUDIENCE: { path: ['identity', 'audience'], help: 'expected audience (authenticated)' },
  GATEWAY_JWT_LEEWAY: { path: ['identity', 'leeway'], help: 'seconds by which clocks may differ (30)' },
  GATEWAY_TENANT_CLAIM: {
    path: ['identity', 'tenantClaim'],
    help: 'claim of the company (app_metadata.company_id)',
  },
  GATEWAY_HTTP_CLIENT_TIMEOUT: {
    path: ['client', 'timeouts', 'firstByte'],
    help: 'seconds for an answer to begin, and between two of its chunks (60)',
  },
  GATEWAY_HTTP_CLIENT_MAX_CONNECTIONS: {
    path: ['client', 'maxConnections'],
    read: number,
    help: 'connections to each upstream (1024)',
  },
  GATEWAY_HTTP_CLIENT_MAX_KEEPALIVE_CONNECTIONS: {
    path: ['client', 'maxIdleConnections'],
    read: number,
    help: 'idle connections kept to each upstream (256)',
  },
  GATEWAY_TRUSTED_PROXIES: {
    path: ['server', 'trustedProxies'],
    read: list,
    help: 'addresses and networks whose X-Forwarded-* are believed, comma-separated',
  },
  GATEWAY_BODY_LIMIT: { path: ['bodyLimit'], help: 'largest request body, like 50MiB (no limit)' },
  GATEWAY_DRAIN_DELAY: {
    path: ['server', 'drainDelay'],
    help: 'seconds between turning unready and closing on SIGTERM (0)',
  },
  GATEWAY_DRAIN_TIMEOUT: {
    path: ['server', 'drainTimeout'],
    help: 'seconds that running exchanges get on SIGTERM (25)',
  },
  GATEWAY_RELOAD_ON_CHANGE: {
    path: ['server', 'reloadOnChange'],
    read: flag,
    help: 'true: load the config file and .env again when they have changed (false)',
  },
  GATEWAY_REDIS_URL: {
    path: ['redis', 'url'],
    help: 'Redis or Valkey that several gateways share: redis://, rediss://, redis+sentinel://, redis+cluster://',
  },
  GATEWAY_USAGE_FILE: {
    path: ['usage', 'file'],
    help: 'SQLite file in which usage is counted; set: it is',
  },
  GATEWAY_ADMIN_PORT: { path: ['admin', 'port'], read: offOrPort, help: 'admin port, or off (9901)' },
  GATEWAY_ADMIN_HOST: { path: ['admin', 'host'], help: 'address of the admin port (127.0.0.1)' },
}

/** Variables read elsewhere, for `--help` and for finding misspelled ones. */
export const OTHER_SETTINGS: Readonly<Record<string, string>> = {
  GATEWAY_INGEST_SERVICE_URL: 'ingest service, for /api/v1/ingest/*',
  GATEWAY_QUERY_SERVICE_URL: 'query service, for /api/v1/query/*',
  GATEWAY_AUTH_SERVICE_URL: 'auth service, for /api/v1/auth/* (501 without it)',
  GATEWAY_AUTH_STRIP_PREFIX: 'true: the auth service gets /token for /api/v1/auth/token (false)',
  GATEWAY_AUTH_ALLOW_ADMIN: 'true: admin paths of the auth service are open (false)',
  GATEWAY_CORS_ORIGINS:
    'allowed origins, comma-separated; * within a label makes a pattern (http://localhost:3000)',
  VERCEL_FRONTEND_URL: 'one more allowed origin',
  NGROK_URL: 'one more allowed origin, with http and https',
  GATEWAY_HTTP_CLIENT_MAX_KEEPALIAS_CONNECTIONS: "the first gateway's spelling of …MAX_KEEPALIVE_CONNECTIONS",
  GATEWAY_CONFIG: 'config file',
}

/** The first gateway's spelling, which deployed ConfigMaps have. */
const MISSPELLED = 'GATEWAY_HTTP_CLIENT_MAX_KEEPALIAS_CONNECTIONS'
const RIGHTLY_SPELLED = 'GATEWAY_HTTP_CLIENT_MAX_KEEPALIVE_CONNECTIONS'

export interface AllowedOrigins {
  /** GATEWAY_CORS_ORIGINS is set: its list stands in place of the default one. */
  readonly listed: boolean
  readonly origins: readonly { origin: string; name: string }[]
  readonly patterns: readonly string[]
}

export interface EnvironmentOptions {
  /** The part of a config that the environment says, unparsed. */
  readonly options: Record<string, unknown>
  /** Config path (dotted) → variable it came from. */
  readonly origins: ReadonlyMap<string, string>
  /** Origins to allow beside those of the file. */
  readonly allowedOrigins: AllowedOrigins
  /** Variables that look like misspelled ones. */
  readonly suspicious: readonly { name: string; meant: string }[]
}

/** Reads all settings. Names match in any letter case, as they did in the first gateway. */
export function readEnvironment(environment: Environment): EnvironmentOptions {
  const values = byUpperName(environment)
  const misspelled = values.get(MISSPELLED)
  if (misspelled !== undefined && !values.has(RIGHTLY_SPELLED)) values.set(RIGHTLY_SPELLED, misspelled)
  const options: Record<string, unknown> = {}
  const origins = new Map<string, string>()
  const put = (path: Path, value: unknown, name: string): void => {
    place(options, path, value)
    origins.set(path.join('.'), name)
  }
  for (const [name, { path, read }] of Object.entries(SETTINGS)) {
    const text = values.get(name)
    // An empty variable is a variable not set, but for the secret: an empty one is a mistake worth an alarm.
    if (text === undefined || (text === '' && name !== 'GATEWAY_JWT_SECRET')) continue
    const spelled = name === RIGHTLY_SPELLED && values.get(MISSPELLED) === text ? MISSPELLED : name
    put(path, read === undefined ? text : read(text), spelled)
  }
  const timeout = values.get('GATEWAY_HTTP_CLIENT_TIMEOUT')
  if (timeout) put(['client', 'timeouts', 'idle'], timeout, 'GATEWAY_HTTP_CLIENT_TIMEOUT')
  return { options, origins, allowedOrigins: readOrigins(values), suspicious: findSuspicious(values) }
}

/** The same variables under their names in capitals. */
export function byUpperName(environment: Environment): Map<string, string> {
  const values = new Map<string, string>()
  for (const [name, value] of Object.entries(environment)) {
    const upper = name.toUpperCase()
    // The exact spelling wins over another letter case of it
    if (value !== undefined && (name === upper || !values.has(upper))) values.set(upper, value)
  }
  return values
}

/** Origins of the environment, each with its variable. */
function readOrigins(values: ReadonlyMap<string, string>): AllowedOrigins {
  const listed = list(values.get('GATEWAY_CORS_ORIGINS') ?? '')
  const isPattern = (entry: string): boolean => entry.includes('*') && entry !== '*'
  const origins = listed
    .filter(entry => !isPattern(entry))
    .map(origin => ({ origin, name: 'GATEWAY_CORS_ORIGINS' }))
  const vercel = values.get('VERCEL_FRONTEND_URL')
  if (vercel) origins.push({ origin: vercel, name: 'VERCEL_FRONTEND_URL' })
  const ngrok = values.get('NGROK_URL')
  if (ngrok) origins.push(...bothSchemes(ngrok).map(origin => ({ origin, name: 'NGROK_URL' })))
  return { listed: listed.length > 0, origins, patterns: listed.filter(isPattern) }
}

/** A tunnel answers under http and https alike. */
function bothSchemes(url: string): string[] {
  if (url.startsWith('https://')) return [url, `http://${url.slice(8)}`]
  return url.startsWith('http://') ? [url, `https://${url.slice(7)}`] : [url]
}

function place(target: Record<string, unknown>, path: Path, value: unknown): void {
  let at: Record<string, unknown> = target
  for (const key of path.slice(0, -1)) {
    at[key] ??= {}
    at = at[key] as Record<string, unknown>
  }
  at[path.at(-1)!] = value
}

/** Kubernetes adds variables named after services, so a strange GATEWAY_ name is no fault: only near misses are told. */
function findSuspicious(values: ReadonlyMap<string, string>): { name: string; meant: string }[] {
  const known = [...Object.keys(SETTINGS), ...Object.keys(OTHER_SETTINGS), MISSPELLED]
  const suspicious: { name: string; meant: string }[] = []
  for (const name of values.keys()) {
    if (!name.startsWith('GATEWAY_') || known.includes(name)) continue
    const meant = nearest(name, known)
    if (meant !== null) suspicious.push({ name, meant })
  }
  return suspicious
}

/** The one of `known` that differs from `word` by at most two edits, or null. */
export function nearest(word: string, known: readonly string[]): string | null {
  let best: string | null = null
  let least = 3
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) >= least) continue
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < least) {
      least = distance
      best = candidate
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution))
    }
    previous = current
  }
  return previous[b.length]!
}
