/** The environment of the first gateway works unchanged: names, `.env` files, and what they mean. */

import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { bearer, type SendOptions, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, runCommand, SECRET, startGateway } from './support/gateway.ts'
import { claims, token } from './support/token.ts'
import { answerWith, OK, type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

let directory: ConfigDirectory
let ingest: RecordingUpstream
let query: RecordingUpstream
let auth: RecordingUpstream

before(async () => {
  directory = configDirectory()
  const slow = (request: Parameters<ReturnType<typeof answerWith>>[0]): void => {
    if (request.target.includes('slow')) setTimeout(() => answerWith(OK)(request), 100)
    else if (!request.target.includes('silent')) answerWith(OK)(request)
  }
  ;[ingest, query, auth] = await Promise.all([
    recordingUpstream(slow),
    recordingUpstream(slow),
    recordingUpstream(slow),
  ])
})

after(async () => {
  directory?.remove()
  await Promise.all([ingest?.close(), query?.close(), auth?.close()])
})

/** Nothing of the harness's own but what it needs to run. */
const BARE = {
  GATEWAY_JWT_SECRET: undefined,
  GATEWAY_INGEST_SERVICE_URL: undefined,
  GATEWAY_QUERY_SERVICE_URL: undefined,
}

const services = (): Record<string, string> => ({
  GATEWAY_INGEST_SERVICE_URL: ingest.url,
  GATEWAY_QUERY_SERVICE_URL: query.url,
  GATEWAY_AUTH_SERVICE_URL: auth.url,
})

async function withGateway(
  options: { env?: Record<string, string | undefined>; cwd?: string },
  work: (gateway: GatewayProcess) => Promise<void>,
): Promise<void> {
  const gateway = await startGateway(options)
  try {
    await work(gateway)
  } finally {
    await gateway.stop()
  }
}

const signedIn = (over: SendOptions = {}): SendOptions => ({ ...over, headers: bearer(token()) })

describe('the services of the first gateway', () => {
  test('are served from their variables, with the guards and methods they had', () =>
    withGateway({ env: services() }, async gateway => {
      for (const [name, upstream] of [
        ['ingest', ingest],
        ['query', query],
      ] as const) {
        for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH']) {
          const path = `/api/v1/${name}/documents/1?v=2`
          assert.equal(
            (await send(gateway.url + path, signedIn({ method }))).status,
            200,
            `${method} ${name}`,
          )
          const { method: arrived, target } = upstream.requests.at(-1)!
          assert.deepEqual([arrived, target], [method, path])
          assert.equal((await send(gateway.url + path, { method })).status, 401)
        }
      }
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const answer = await send(`${gateway.url}/api/v1/auth/token`, { method })
        assert.equal(answer.status, 200, `${method} auth`)
        assert.equal(auth.requests.at(-1)!.target, '/api/v1/auth/token')
      }
    }))

  test('auth: gets its path without the prefix when told to', () =>
    withGateway({ env: { ...services(), GATEWAY_AUTH_STRIP_PREFIX: 'true' } }, async gateway => {
      await send(`${gateway.url}/api/v1/auth/token?grant_type=password`, { method: 'POST' })
      assert.equal(auth.requests.at(-1)!.target, '/token?grant_type=password')
    }))

  test('have their limit of time, in seconds', () =>
    withGateway({ env: { ...services(), GATEWAY_HTTP_CLIENT_TIMEOUT: '1' } }, async gateway => {
      assert.equal((await send(`${gateway.url}/api/v1/ingest/silent`, signedIn())).status, 504)
      assert.equal((await send(`${gateway.url}/api/v1/ingest/x`, signedIn())).status, 200)
    }))

  test('have their limit of connections', () =>
    withGateway({ env: { ...services(), GATEWAY_HTTP_CLIENT_MAX_CONNECTIONS: '3' } }, async gateway => {
      const most = await mostConnections(gateway, query)
      assert.ok(most <= 3 && most > 0, `${most} connections`)
    }))

  for (const name of ['KEEPALIAS', 'KEEPALIVE']) {
    test(`keep as many idle connections as MAX_${name}_CONNECTIONS says`, () =>
      withGateway(
        { env: { ...services(), [`GATEWAY_HTTP_CLIENT_MAX_${name}_CONNECTIONS`]: '2' } },
        async gateway => {
          const most = await mostConnections(gateway, query)
          assert.ok(most > 2, 'more were open at once')
          assert.ok([...query.sockets].filter(socket => !socket.destroyed).length <= 2)
        },
      ))
  }
})

/** Twelve requests at once; the most connections that the upstream had open meanwhile. */
async function mostConnections(gateway: GatewayProcess, upstream: RecordingUpstream): Promise<number> {
  let most = 0
  const timer = setInterval(() => {
    most = Math.max(most, upstream.sockets.size)
  }, 5)
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => send(`${gateway.url}/api/v1/query/slow`, signedIn())),
  )
  clearInterval(timer)
  for (const { status } of answers) assert.equal(status, 200)
  // Connections that are not kept are closed a moment after their answer
  const end = Date.now() + 1_000
  while (upstream.sockets.size > 2 && Date.now() < end) await new Promise(resolve => setTimeout(resolve, 20))
  return most
}

describe('names and values', () => {
  test('are found in lower and mixed case', () =>
    withGateway(
      {
        env: {
          ...BARE,
          gateway_jwt_secret: SECRET,
          Gateway_Ingest_Service_Url: ingest.url,
          gateway_query_service_url: query.url,
          gateway_project_name: 'lower',
        },
      },
      async gateway => {
        assert.equal((await send(`${gateway.url}/api/v1/ingest/x`, signedIn())).status, 200)
        assert.equal((await send(`${gateway.url}/health`)).json().service, 'lower')
      },
    ))

  test('the frontends of the first gateway may call, and localhost as ever', () =>
    withGateway(
      {
        env: { VERCEL_FRONTEND_URL: 'https://app.vercel.app', NGROK_URL: 'https://abc.ngrok-free.app' },
      },
      async gateway => {
        const allowed = async (origin: string): Promise<boolean> =>
          (await send(`${gateway.url}/`, { headers: { origin } })).values('access-control-allow-origin')
            .length > 0
        for (const origin of [
          'http://localhost:3000',
          'https://app.vercel.app',
          'https://abc.ngrok-free.app',
          'http://abc.ngrok-free.app',
        ]) {
          assert.ok(await allowed(origin), origin)
        }
        for (const origin of [
          'https://other.vercel.app',
          'http://app.vercel.app',
          'https://localhost:3000',
          'null',
        ]) {
          assert.ok(!(await allowed(origin)), origin)
        }
      },
    ))

  test('another algorithm of the family is the only one then', () =>
    withGateway({ env: { ...services(), GATEWAY_JWT_ALGORITHM: 'HS256' } }, async gateway => {
      const answer = await send(`${gateway.url}/api/v1/ingest/x`, {
        headers: bearer(token(claims(), { header: { alg: 'HS512' } })),
      })
      assert.equal(answer.status, 401)
    }))

  const wrong: [string, Record<string, string | undefined>, RegExp][] = [
    ['no secret and no key set', { GATEWAY_JWT_SECRET: undefined }, /GATEWAY_JWT_SECRET/],
    ['a port that is none', { PORT: 'http' }, /PORT/],
    [
      'a service URL without a scheme',
      { GATEWAY_INGEST_SERVICE_URL: 'ingest:80' },
      /GATEWAY_INGEST_SERVICE_URL/,
    ],
    ['a timeout that is none', { GATEWAY_HTTP_CLIENT_TIMEOUT: 'soon' }, /GATEWAY_HTTP_CLIENT_TIMEOUT/],
    ['a misspelled limit that is none', { GATEWAY_HTTP_CLIENT_MAX_KEEPALIAS_CONNECTIONS: 'x' }, /KEEPALIAS/],
    ['an unknown algorithm', { GATEWAY_JWT_ALGORITHM: 'none' }, /GATEWAY_JWT_ALGORITHM/],
    ['an unknown log level', { GATEWAY_LOG_LEVEL: 'LOUD' }, /GATEWAY_LOG_LEVEL/],
    ['an origin with a path', { VERCEL_FRONTEND_URL: 'https://a.example/app' }, /VERCEL_FRONTEND_URL/],
    [
      'a bad origin in a list',
      { GATEWAY_CORS_ORIGINS: 'https://a.example,b.example' },
      /GATEWAY_CORS_ORIGINS/,
    ],
    ['a wildcard for all origins', { GATEWAY_CORS_ORIGINS: '*' }, /GATEWAY_CORS_ORIGINS/],
    ['a bad trusted proxy', { GATEWAY_TRUSTED_PROXIES: '10.0.0.1, all' }, /GATEWAY_TRUSTED_PROXIES/],
    ['a key set that is no URL', { GATEWAY_JWKS_URL: 'jwks.json' }, /GATEWAY_JWKS_URL/],
  ]
  for (const [what, env, says] of wrong) {
    test(`${what}: said by its variable, exit 78`, async () => {
      const { code, stdout, stderr } = await runCommand(['check'], { env })
      assert.equal(code, 78, stdout + stderr)
      assert.match(stdout + stderr, says)
      assert.ok(!(stdout + stderr).includes(SECRET))
    })
  }
})

describe('.env', () => {
  const inDirectory = (name: string, content: string): string => {
    mkdirSync(path.join(directory.path, name))
    directory.write(path.join(name, '.env'), content)
    return path.join(directory.path, name)
  }

  test('as the first README shows it: quotes, comments behind values, variables switched off', () => {
    const cwd = inDirectory(
      'readme',
      `# api-gateway/.env

# --- Logging ---
GATEWAY_LOG_LEVEL=DEBUG # more words for development

GATEWAY_INGEST_SERVICE_URL="${ingest.url}" # example: port of the local service
GATEWAY_QUERY_SERVICE_URL='${query.url}'
# GATEWAY_AUTH_SERVICE_URL="${auth.url}"

GATEWAY_JWT_SECRET="${SECRET}" # the project's secret
GATEWAY_JWT_ALGORITHM="HS256"
export GATEWAY_PROJECT_NAME = With spaces
GATEWAY_HTTP_CLIENT_TIMEOUT=60
# GATEWAY_HTTP_CLIENT_MAX_CONNECTIONS=100
`,
    )
    return withGateway({ cwd, env: BARE }, async gateway => {
      assert.equal((await send(`${gateway.url}/api/v1/ingest/x`, signedIn())).status, 200)
      assert.equal((await send(`${gateway.url}/api/v1/query/x`, signedIn())).status, 200)
      assert.equal((await send(`${gateway.url}/api/v1/auth/x`)).status, 501)
      assert.equal((await send(`${gateway.url}/health`)).json().service, 'With spaces')
    })
  })

  for (const [what, quoted] of [
    ['within quotes', (secret: string) => `"${secret}"`],
    ['within a word, as the first gateway read it,', (secret: string) => secret],
  ] as const) {
    test(`a # ${what} is no comment`, () => {
      const secret = 'p4ss#word-of-at-least-thirty-two-bytes#'
      const cwd = inDirectory(
        `hash-${what.length}`,
        `GATEWAY_JWT_SECRET=${quoted(secret)}\nGATEWAY_PROJECT_NAME=${quoted('Team#1')} # the first\n` +
          `GATEWAY_INGEST_SERVICE_URL=${ingest.url}\nGATEWAY_QUERY_SERVICE_URL=${query.url}\n`,
      )
      return withGateway({ cwd, env: BARE }, async gateway => {
        assert.equal((await send(`${gateway.url}/health`)).json().service, 'Team#1')
        const headers = bearer(token(claims(), { secret }))
        assert.equal((await send(`${gateway.url}/api/v1/ingest/x`, { headers })).status, 200)
      })
    })
  }

  test('gives way to the environment, and fills config files', () => {
    const cwd = inDirectory('both', 'GATEWAY_PROJECT_NAME=From the file\nFROM_DOTENV=filled\n')
    directory.write(
      path.join('both', 'gateway.config.yaml'),
      "routes:\n  - { path: /x, auth: none, respond: { body: '$" + "{FROM_DOTENV}' } }\n",
    )
    return withGateway({ cwd, env: { GATEWAY_PROJECT_NAME: 'From outside' } }, async gateway => {
      assert.equal((await send(`${gateway.url}/health`)).json().service, 'From outside')
      assert.equal((await send(`${gateway.url}/x`)).text, 'filled')
    })
  })
})
