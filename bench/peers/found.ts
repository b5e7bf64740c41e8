import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Contender, Duty } from '../contender.ts'
import { freePort, ready, start } from '../process.ts'
import { SECRET } from '../token.ts'

// Gateways that Debian does not have: they race where somebody has put them on the PATH.

type Found = {
  name: string
  label: string
  duty: Duty
  about: string
  version: [string, ...string[]]
  /** Configuration files by name, and the command that runs them; `file` gives the path of one. */
  files: (port: number, upstreamPort: number, file: (name: string) => string) => Record<string, string>
  command: (file: (name: string) => string) => string[]
}

/** The shared secret as a set of keys, which is how Envoy and KrakenD take it. */
const KEYS = JSON.stringify({
  keys: [{ kty: 'oct', alg: 'HS256', kid: 'shared', k: Buffer.from(SECRET).toString('base64url') }],
})

export const envoy = found({
  name: 'envoy',
  label: 'Envoy, jwt_authn (no log)',
  duty: 'token',
  about:
    'One worker; verifies signature, expiry and audience and passes the claims on; asks for no company; no log.',
  version: ['envoy', '--version'],
  command: file => ['envoy', '-c', file('envoy.json'), '--concurrency', '1', '--log-level', 'error'],
  files: (port, upstreamPort) => ({ 'envoy.json': JSON.stringify(envoyConfig(port, upstreamPort)) }),
})

export const krakend = found({
  name: 'krakend',
  label: 'KrakenD, auth/validator (no log)',
  duty: 'token',
  about: 'GOMAXPROCS=1; verifies signature, expiry and audience and passes two claims on; no log.',
  version: ['krakend', 'version'],
  command: file => ['krakend', 'run', '-c', file('krakend.json')],
  files: (port, upstreamPort, file) => ({
    'keys.json': KEYS,
    'krakend.json': JSON.stringify(krakendConfig(port, upstreamPort, file('keys.json'))),
  }),
})

export const traefik = found({
  name: 'traefik',
  label: 'Traefik, plain proxy (no check, no log)',
  duty: 'forward',
  about: 'GOMAXPROCS=1; its free version has no token check: it checks and logs nothing.',
  version: ['traefik', 'version'],
  command: file => ['traefik', `--configFile=${file('traefik.json')}`],
  files: (port, upstreamPort, file) => ({
    'traefik.json': JSON.stringify({
      entryPoints: { web: { address: `127.0.0.1:${port}` } },
      providers: { file: { filename: file('dynamic.json') } },
      log: { level: 'ERROR' },
    }),
    'dynamic.json': JSON.stringify({
      http: {
        routers: { all: { rule: 'PathPrefix(`/`)', service: 'service' } },
        services: {
          service: { loadBalancer: { servers: [{ url: `http://127.0.0.1:${upstreamPort}` }] } },
        },
      },
    }),
  }),
})

function found({ files, command, ...peer }: Found): Contender {
  return {
    ...peer,
    logs: false,
    missing: async () => {
      const [program, ...args] = peer.version
      const runs = await promisify(execFile)(program, args, { timeout: 10_000 }).catch(() => null)
      return runs === null ? `there is no ${program} on the PATH` : null
    },
    start: async ({ directory, upstreamPort, cores }) => {
      const port = await freePort()
      const file = (name: string): string => join(directory, name)
      for (const [name, text] of Object.entries(files(port, upstreamPort, file))) {
        await writeFile(file(name), text)
      }
      const process = start({
        name: peer.name,
        directory,
        core: cores.measured,
        command: command(file),
        env: { GOMAXPROCS: '1' },
      })
      await ready(process, port)
      return { name: peer.name, port, process }
    },
  }
}

const address = (port: number): unknown => ({ socket_address: { address: '127.0.0.1', port_value: port } })

const typed = (type: string, rest: Record<string, unknown>): Record<string, unknown> => ({
  '@type': `type.googleapis.com/envoy.extensions.filters.${type}`,
  ...rest,
})

function envoyConfig(port: number, upstreamPort: number): unknown {
  const verification = {
    providers: {
      shared: {
        audiences: ['authenticated'],
        local_jwks: { inline_string: KEYS },
        forward: true,
        claim_to_headers: [
          { header_name: 'x-user-id', claim_name: 'sub' },
          { header_name: 'x-user-email', claim_name: 'email' },
          { header_name: 'x-company-id', claim_name: 'app_metadata.company_id' },
        ],
      },
    },
    rules: [{ match: { prefix: '/' }, requires: { provider_name: 'shared' } }],
  }
  const manager = typed('network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'edge',
    route_config: {
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'service' } }] },
      ],
    },
    http_filters: [
      {
        name: 'envoy.filters.http.jwt_authn',
        typed_config: typed('http.jwt_authn.v3.JwtAuthentication', verification),
      },
      { name: 'envoy.filters.http.router', typed_config: typed('http.router.v3.Router', {}) },
    ],
  })
  return {
    static_resources: {
      listeners: [
        {
          address: address(port),
          filter_chains: [
            { filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] },
          ],
        },
      ],
      clusters: [
        {
          name: 'service',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'service',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstreamPort) } }] }],
          },
        },
      ],
    },
  }
}

function krakendConfig(port: number, upstreamPort: number, keys: string): unknown {
  const validator = {
    alg: 'HS256',
    audience: ['authenticated'],
    jwk_local_path: keys,
    disable_jwk_security: true,
    cache: true,
    propagate_claims: [
      ['sub', 'x-user-id'],
      ['app_metadata.company_id', 'x-company-id'],
    ],
  }
  return {
    version: 3,
    port,
    listen_ip: '127.0.0.1',
    extra_config: {
      'telemetry/logging': { level: 'CRITICAL', stdout: false },
      router: { disable_access_log: true },
    },
    endpoints: ['GET', 'POST'].map(method => ({
      endpoint: '/api/v1/query/{name}',
      method,
      output_encoding: 'no-op',
      input_headers: ['*'],
      backend: [
        {
          url_pattern: '/api/v1/query/{name}',
          encoding: 'no-op',
          host: [`http://127.0.0.1:${upstreamPort}`],
        },
      ],
      extra_config: { 'auth/validator': validator },
    })),
  }
}
