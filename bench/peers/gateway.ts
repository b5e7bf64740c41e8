import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Contender, Setting } from '../contender.ts'
import { freePort, ready, type Started, start } from '../process.ts'
import { SECRET } from '../token.ts'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export type GatewayChoice = {
  name?: string
  label?: string
  /** The checkout to run; this one unless told otherwise. */
  root?: string
  /** Run the sources instead of the bundle. */
  sources: boolean
  /** Further arguments for Node, in front of the program. */
  nodeArguments?: string[]
  /** A program that runs Node under its eyes, in front of the command. */
  under?: string[]
  workers?: number
  /** So many routes of a configuration in place of the default ones. */
  routes?: number
  /** Connections to the upstream at most, in place of the default. */
  maxConnections?: number
  /** TLS on a port of its own, with these files. */
  tls?: { cert: string; key: string; port: number }
  /** Take tokens that the key set of the upstream signs, beside those of the shared secret. */
  keySet?: boolean
  /** Further keys of the upstream. */
  upstream?: Record<string, unknown>
  /** A configuration with that upstream, or keys that take the place of those of the default one. */
  config?: (upstreamUrl: string) => Record<string, unknown>
}

/** Where the routes of `routes` lie: `/api/s0/items/7` to `/api/s9999/items/7`. */
export const ROUTES_PATH = '/api/s{n}/items/7'

/** The gateway with its default pipeline and its access log on: no setting turns anything off. */
export function gateway(choice: GatewayChoice): Contender {
  const { name = 'gateway', label = 'nyro-gateway, log on', root = ROOT } = choice
  return {
    name,
    label,
    duty: 'identity',
    logs: true,
    about: 'Defaults, JSON access log to a file, tokens kept until they expire.',
    missing: async () => {
      const file = join(root, program(choice))
      return existsSync(file) ? null : `${file} does not exist`
    },
    start: async setting => {
      const port = await freePort()
      const process = await startGateway(choice, setting, port)
      await ready(process, port, '/health')
      return { name, port, process }
    },
  }
}

/** Starts the gateway and returns at once, for whoever wants to watch it come up. */
export async function startGateway(choice: GatewayChoice, setting: Setting, port: number): Promise<Started> {
  const {
    name = 'gateway',
    root = ROOT,
    nodeArguments = [],
    under = [],
    workers = 1,
    routes = 0,
    maxConnections,
    tls,
    keySet,
    upstream: ofUpstream,
    config: further,
  } = choice
  const upstream = `http://127.0.0.1:${setting.upstreamPort}`
  const file = join(setting.directory, `${name}.config.json`)
  const configured = routes > 0 || [maxConnections, ofUpstream, further].some(each => each !== undefined)
  if (configured) {
    const service = { url: upstream, maxConnections, ...ofUpstream }
    await writeFile(file, JSON.stringify({ ...configuration(service, routes), ...further?.(upstream) }))
  }
  return start({
    name,
    directory: setting.directory,
    core: setting.cores.measured,
    command: [
      ...under,
      process.execPath,
      ...nodeArguments,
      program(choice),
      'start',
      ...(configured ? ['--config', file] : []),
    ],
    cwd: root,
    env: {
      PORT: String(port),
      GATEWAY_WORKERS: String(workers),
      GATEWAY_ADMIN_PORT: 'off',
      GATEWAY_JWT_SECRET: SECRET,
      GATEWAY_QUERY_SERVICE_URL: upstream,
      GATEWAY_INGEST_SERVICE_URL: upstream,
      ...(tls === undefined
        ? {}
        : { GATEWAY_TLS_CERT: tls.cert, GATEWAY_TLS_KEY: tls.key, GATEWAY_TLS_PORT: String(tls.port) }),
      ...(keySet ? { GATEWAY_JWKS_URL: `${upstream}/jwks` } : {}),
    },
  })
}

/** So many routes, each with a path of its own, and the default one of the query service. */
function configuration(service: Record<string, unknown>, routes: number): Record<string, unknown> {
  return {
    upstreams: { service },
    routes: [
      { path: '/api/v1/query/*', upstream: 'service' },
      ...Array.from({ length: routes }, (_, number) => ({
        path: `/api/s${number}/items/{item}`,
        upstream: 'service',
      })),
    ],
  }
}

function program(choice: GatewayChoice): string {
  return choice.sources ? 'src/main.ts' : 'dist/main.js'
}
