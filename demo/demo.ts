import { styleText } from 'node:util'
import { defaultRoutes } from '../src/config/default-routes.ts'
import { loadConfig } from '../src/config/load.ts'
import { startGateway } from '../src/server.ts'
import { demoPassword } from './accounts.ts'
import { startAuth } from './auth.ts'
import { errorRoutes } from './error-routes.ts'
import { errorsText } from './errors.ts'
import { faultyTokens } from './faulty-tokens.ts'
import { startIngest } from './ingest.ts'
import { type PageSettings, startPage } from './page-server.ts'
import { plans, queryQueue } from './plans.ts'
import { startQuery } from './query.ts'
import { signIn } from './sign-in.ts'
import { tourText } from './tour.ts'

/** Names the project to supabase-js, and opens nothing: what it opens is open to all. */
const publicKey = 'sb_publishable_demo'

/**
 * Runs the gateway in front of embedded services, all on the loopback, until SIGINT or SIGTERM.
 *
 * @returns the exit code: 0 when a signal ended it, 1 when it could not start
 */
export async function runDemo(): Promise<number> {
  const port = process.env.PORT || '8080'
  const pagePort = process.env.DEMO_PAGE_PORT
  const ended = endSignal()
  const running: { close(): Promise<void> }[] = []
  try {
    const ingest = await startIngest({ report: line => report('ingest', line) })
    running.push(ingest)
    const query = await startQuery({ report: line => report('query', line) })
    running.push(query)
    const page = await startPageAt(pagePort, () => ({
      gateway: gateway.url,
      key: publicKey,
      account: { email: 'ana@acme.example', password: demoPassword },
    }))
    running.push(page)
    const auth = await startAuth({
      externalUrl: () => `${gateway.url}/api/v1/auth/v1`,
      siteUrl: () => page.url,
    })
    running.push(auth)

    const env = {
      PORT: port,
      GATEWAY_HOST: '127.0.0.1',
      GATEWAY_ADMIN_PORT: 'off',
      GATEWAY_LOG_LEVEL: 'WARNING',
      GATEWAY_DRAIN_TIMEOUT: '1',
      GATEWAY_INGEST_SERVICE_URL: ingest.url,
      GATEWAY_QUERY_SERVICE_URL: query.url,
      GATEWAY_AUTH_SERVICE_URL: auth.url,
      GATEWAY_JWKS_URL: `${auth.url}/.well-known/jwks.json`,
      GATEWAY_JWT_ISSUER: auth.url,
      GATEWAY_CORS_ORIGINS: `${page.url},${page.url.replace('localhost', '127.0.0.1')}`,
    }
    const services = defaultRoutes(env).options
    // Asked for once the gateway listens: until then nobody knows its port.
    const errors = async () => errorsText(gateway.url, await faultyTokens(auth.issuer))
    const { config, problems } = await loadConfig({
      env,
      dotenv: false,
      options: {
        upstreams: { ...services.upstreams, query: { url: query.url, fairQueue: queryQueue } },
        routes: [...services.routes.map(explained), ...errorRoutes('query', errors)],
        limits: plans,
      },
    })
    if (problems.length > 0 || config === null) {
      return failed(...problems.map(({ place, message }) => `${place} ${message}`))
    }
    const gateway = await startGateway(config)
    running.push(gateway)

    const tokens = {
      ana: await signIn(gateway.url, 'ana@acme.example'),
      carla: await signIn(gateway.url, 'carla@globex.example'),
      nadie: await signIn(gateway.url, 'nadie@example.com'),
    }
    console.log(tourText({ url: gateway.url, page: page.url, services: [ingest, query, auth], tokens }))
    await ended
    return 0
  } catch (error) {
    if (!isAddressInUse(error)) throw error
    const [name, taken] =
      portOf(error) === pagePort ? (['DEMO_PAGE_PORT', pagePort] as const) : (['PORT', port] as const)
    return failed(`Port ${taken} is taken. Choose another one: ${name}=${Number(taken) + 1} npm run demo`)
  } finally {
    // All at once: what still streams through the gateway breaks with its service instead of being waited for.
    await Promise.all(running.map(each => each.close()))
  }
}

type Route = ReturnType<typeof defaultRoutes>['options']['routes'][number]

/** The clients of the demo know what an event named error is. */
function explained(route: Route): Route {
  return route.name === 'query' ? { ...route, eventStream: { errorEvent: true } } : route
}

/** @param asked undefined: the port that frontends are used to, or any when that one is taken */
async function startPageAt(asked: string | undefined, settings: () => PageSettings) {
  try {
    return await startPage({ port: Number(asked ?? 3000), settings })
  } catch (error) {
    if (asked !== undefined || !isAddressInUse(error)) throw error
    return startPage({ port: 0, settings })
  }
}

/**
 * Resolves at the first SIGINT or SIGTERM. Later ones change nothing: Ctrl-C reaches this process twice when
 * npm runs it, once from the terminal and once from npm.
 */
function endSignal(): Promise<void> {
  return new Promise(resolve => {
    process.on('SIGINT', () => resolve())
    process.on('SIGTERM', () => resolve())
  })
}

function report(service: string, line: string): void {
  console.log(styleText('dim', `  ${service.padEnd(8)}  ${line}`))
}

function failed(...lines: string[]): number {
  for (const line of lines) console.error(styleText('red', line, { stream: process.stderr }))
  return 1
}

function isAddressInUse(error: unknown): boolean {
  return portOf(error) !== null
}

/** The port that was taken, if that is what went wrong. */
function portOf(error: unknown): string | null {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && at.code === 'EADDRINUSE' && 'port' in at) return String(at.port)
  }
  return null
}
