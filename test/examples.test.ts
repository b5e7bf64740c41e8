/** The examples: each as its README starts it, with the service and the tokens that the README uses. */

import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Answer, bearer, type SendOptions, send } from './support/client.ts'
import { type GatewayProcess, runCommand, startGateway } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { type SigningKey, signingKey } from './support/jwks.ts'
import { claims } from './support/token.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const FOLDER = path.join(ROOT, 'examples')
const EXAMPLES = readdirSync(FOLDER, { withFileTypes: true })
  .filter(entry => entry.isDirectory())
  .map(entry => entry.name)

/** Variables that the test harness sets for other tests, and that no example may lean on. */
const NOTHING = {
  GATEWAY_JWT_SECRET: undefined,
  GATEWAY_INGEST_SERVICE_URL: undefined,
  GATEWAY_QUERY_SERVICE_URL: undefined,
}

const readme = (name: string): string => readFileSync(path.join(FOLDER, name, 'README.md'), 'utf8')

function configOf(name: string): string {
  const [file] = globSync(`${name}/gateway.config.*`, { cwd: FOLDER })
  return path.join(FOLDER, file!)
}

/** What the first block of a README exports. */
function documented(name: string): Record<string, string> {
  const [, block = ''] = /```sh\n([^`]*)```/.exec(readme(name)) ?? []
  return Object.fromEntries(
    [...block.matchAll(/^export ([A-Z_]+)=(\S+)$/gm)].map(([, variable, value]) => [variable!, value!]),
  )
}

describe('every example', () => {
  it('is listed', () => {
    const listed = [...readFileSync(path.join(FOLDER, 'README.md'), 'utf8').matchAll(/\]\(([\w-]+)\/\)/g)]
    assert.deepEqual(listed.map(([, name]) => name).sort(), EXAMPLES.toSorted())
  })

  for (const name of EXAMPLES) {
    it(`${name} is valid with the environment that its README sets`, async () => {
      const env = documented(name)
      assert.ok(Object.keys(env).length > 0)
      const { code, stderr, stdout } = await runCommand(['check', '--config', configOf(name)], {
        env: { ...NOTHING, ...env },
      })
      assert.equal(code, 0, stderr)
      assert.equal(stderr, '')
      assert.match(stdout, /: valid, [1-9]\d* routes?\n$/)
    })

    it(`${name} is started by its README with its own config`, () => {
      assert.ok(
        readme(name).includes(`npm start -- --config examples/${path.relative(FOLDER, configOf(name))}\n`),
      )
    })
  }
})

describe('examples', () => {
  let service: ChildProcess
  let serviceUrl: string
  let gateway: GatewayProcess | undefined

  before(async () => {
    service = spawn(process.execPath, [path.join(FOLDER, 'upstream.ts'), '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(createInterface({ input: service.stdout! }), 'line')) as [string]
    serviceUrl = line
  })
  after(() => service.kill())

  /** The example under its README's environment, with the service where `variables` say. */
  function run(name: string, ...variables: string[]): void {
    before(async () => {
      const services = Object.fromEntries(variables.map(variable => [variable, serviceUrl]))
      gateway = await startGateway({
        args: ['--config', configOf(name)],
        env: { ...NOTHING, ...documented(name), ...services },
      })
    })
    after(async () => {
      assert.equal(await gateway?.stop(), 0)
    })
  }

  const ask = (target: string, options?: SendOptions): Promise<Answer> =>
    send(`${gateway!.url}${target}`, options)

  /** A token of the examples' own making, with the secret that an example documents. */
  async function tokenFor(name: string, over: object = {}): Promise<Record<string, string>> {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [path.join(FOLDER, 'token.ts'), JSON.stringify(over)],
      { env: { ...process.env, ...documented(name) } },
    )
    return bearer(stdout.trim())
  }

  const inCompany = (metadata: object) => ({ app_metadata: { company_id: 'acme', ...metadata } })

  describe('minimal', () => {
    run('minimal', 'UPSTREAM_URL')

    it('refuses who has no token', async () => {
      const answer = await ask('/api/hello')
      assert.equal(answer.status, 401)
      assert.equal(answer.json().detail, 'Not authenticated')
    })

    it('tells the service who asks', async () => {
      const headers = { ...(await tokenFor('minimal')), 'X-Company-ID': 'other' }
      const seen = (await ask('/api/hello', { headers })).json()
      assert.equal(seen.url, '/api/hello')
      assert.equal(seen.headers['x-company-id'], 'acme')
      assert.equal(seen.headers['x-user-email'], 'ana@acme.example')
    })
  })

  describe('custom-policy', () => {
    run('custom-policy', 'UPSTREAM_URL')

    const withPlan = (plan: unknown) => tokenFor('custom-policy', inCompany({ plan }))

    it('sends the plan from the token, and times the service', async () => {
      const answer = await ask('/reports/march', { headers: await withPlan('free') })
      assert.equal(answer.json().headers['x-plan'], 'free')
      assert.match(answer.values('server-timing').join(), /^upstream;dur=\d+\.\d$/)
    })

    it('lets a plan pass that is accepted', async () => {
      const answer = await ask('/reports/exports/march', { headers: await withPlan('pro') })
      assert.equal(answer.status, 200)
      assert.equal(answer.json().headers['x-plan'], 'pro')
    })

    it('refuses another plan in the words of the policy', async () => {
      const answer = await ask('/reports/exports/march', { headers: await withPlan('free') })
      assert.equal(answer.status, 403)
      assert.match(answer.values('content-type').join(), /^application\/problem\+json/)
      const { code, detail } = answer.json()
      assert.deepEqual([code, detail], ['claim_required', 'This needs the plan pro or enterprise.'])
    })

    for (const plan of [undefined, 'gold', ['pro'], 'pro\r\nX-Admin: 1']) {
      it(`takes no plan from ${JSON.stringify(plan)}, nor from the client`, async () => {
        const headers = { ...(await withPlan(plan)), 'X-Plan': 'enterprise', X_Plan: 'enterprise' }
        assert.equal((await ask('/reports/exports/march', { headers })).status, 403)
        const seen = (await ask('/reports/march', { headers })).json()
        assert.equal(seen.url, '/reports/march')
        assert.deepEqual(
          Object.keys(seen.headers).filter(name => /plan|admin/.test(name)),
          [],
        )
      })
    }
  })

  describe('many-services', () => {
    const name = 'many-services'
    run(name, 'ORDERS_URL', 'ORDERS_NEXT_URL', 'BILLING_URL', 'FILES_URL', 'BACKOFFICE_URL')

    for (const [what, target, extra, url] of [
      ['strips a prefix', '/v2/orders/17?full=1', {}, '/orders/17?full=1'],
      ['chooses by a header', '/v2/orders/17', { 'X-Preview': 'orders' }, '/next/orders/17'],
      ['fills a parameter in', '/v2/orders/17/invoice', {}, '/invoices/by-order/17'],
      ['strips all before the *', '/v2/files/a/b.pdf', {}, '/a/b.pdf'],
      ['rewrites what the * stands for', '/v2/accounts/2026/05', {}, '/accounts/2026/05'],
      ['chooses by host', '/users', { Host: 'backoffice.example.com' }, '/users'],
    ] as const) {
      it(what, async () => {
        const metadata = inCompany({ roles: ['accountant', 'editor'], staff: true })
        const headers = { ...(await tokenFor(name, metadata)), ...extra }
        const answer = await ask(target, { headers })
        assert.equal(answer.status, 200, answer.text)
        assert.equal(answer.json().url, url)
      })
    }

    it('tells the service the roles, and refuses who has none of those asked for', async () => {
      const target = '/v2/accounts/2026'
      const roles = ['accountant', 'editor']
      const granted = await ask(target, { headers: await tokenFor(name, inCompany({ roles })) })
      assert.equal(granted.json().headers['x-company-roles'], 'accountant,editor')
      const headers = await tokenFor(name, inCompany({ roles: ['editor'] }))
      assert.equal((await ask(target, { headers })).status, 403)
    })

    it('answers in public where it is told to, and nowhere else', async () => {
      assert.deepEqual((await ask('/v2/status')).json(), { status: 'ok' })
      assert.equal((await ask('/v2/orders/17')).status, 401)
      assert.equal((await ask('/users')).status, 404)
    })

    it('serves shared files with and without a token', async () => {
      const target = '/v2/files/shared/logo.png'
      assert.equal((await ask(target)).json().headers['x-company-id'], undefined)
      const seen = (await ask(target, { headers: await tokenFor(name) })).json()
      assert.deepEqual([seen.url, seen.headers['x-company-id']], ['/shared/logo.png', 'acme'])
    })

    it('lets staff without a company into the back office, and nobody else', async () => {
      const host = { Host: 'backoffice.example.com' }
      const staff = await tokenFor(name, { app_metadata: { staff: true } })
      assert.equal((await ask('/users', { headers: { ...staff, ...host } })).status, 200)
      const others = await tokenFor(name)
      assert.equal((await ask('/users', { headers: { ...others, ...host } })).status, 403)
    })

    it('takes large bodies where files go, and only there', async () => {
      const headers = await tokenFor(name)
      const body = Buffer.alloc(1024 ** 2 + 1)
      const options = { method: 'POST', headers, body }
      assert.equal((await ask('/v2/files/large', options)).json().bytes, body.length)
      assert.equal((await ask('/v2/orders', options)).status, 413)
    })
  })

  describe('supabase', () => {
    let project: HttpUpstream
    let key: SigningKey

    before(async () => {
      key = await signingKey('ES256', 'first')
      project = await httpUpstream(({ target, response }) => {
        const isKeys = target === '/auth/v1/.well-known/jwks.json'
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(isKeys ? { keys: [key.publicJwk] } : { target }))
      })
      gateway = await startGateway({
        args: ['--config', configOf('supabase')],
        env: { ...NOTHING, SUPABASE_URL: project.url, INGEST_URL: serviceUrl, QUERY_URL: serviceUrl },
      })
    })
    after(async () => {
      assert.equal(await gateway?.stop(), 0)
      await project.close()
    })

    it('passes sign-in on to the project, under the path that it has there', async () => {
      const target = '/api/v1/auth/v1/token?grant_type=password'
      const answer = await ask(target, {
        method: 'POST',
        body: '{}',
        headers: { apikey: 'sb_publishable_x' },
      })
      assert.equal(answer.json().target, '/auth/v1/token?grant_type=password')
    })

    for (const target of ['admin/users', 'admin', '%61dmin/users', 'invite', 'invite/', 'scim/v2/Users']) {
      it(`keeps /${target} of the project to itself`, async () => {
        const answer = await ask(`/api/v1/auth/v1/${target}`, { method: 'POST', body: '{}' })
        assert.equal(answer.status, 403)
        assert.ok(!project.requests.some(request => request.target.includes(target)))
      })
    }

    it("accepts tokens that the project's key signed, and of this project only", async () => {
      const issued = (iss: string) => key.sign(claims({ iss }))
      const own = bearer(await issued(`${project.url}/auth/v1`))
      const seen = (await ask('/api/v1/query/ask', { headers: own })).json()
      assert.equal(seen.headers['x-company-id'], 'acme')
      const foreign = bearer(await issued('https://other.example/auth/v1'))
      assert.equal((await ask('/api/v1/query/ask', { headers: foreign })).status, 401)
    })

    for (const [origin, status] of [
      ['https://app.acme.example', 204],
      ['https://app-git-main-acme.vercel.app', 204],
      ['https://app-git-main-other.vercel.app', 403],
      ['https://app-x-acme.vercel.app.evil.example', 403],
    ] as const) {
      it(`answers the preflight from ${origin} with ${status}`, async () => {
        const headers = { Origin: origin, 'Access-Control-Request-Method': 'POST' }
        const answer = await ask('/api/v1/query/ask', { method: 'OPTIONS', headers })
        assert.equal(answer.status, status)
        assert.deepEqual(answer.values('access-control-allow-origin'), status === 204 ? [origin] : [])
      })
    }
  })
})
