/** Chromium on the page of the demo, which is on another origin than the gateway: what browsers ask for, they ask for here. */

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { demoPassword } from '../demo/accounts.ts'
import type { Pace } from '../demo/answer.ts'
import { type AuthService, startAuth } from '../demo/auth.ts'
import { startIngest } from '../demo/ingest.ts'
import { startPage } from '../demo/page-server.ts'
import { startQuery } from '../demo/query.ts'
import type { RunningService } from '../demo/service.ts'
import { needsChromium, screenshot, startChromium } from './support/chromium.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'

const skip = await needsChromium()

describe('a browser', { skip, timeout: 170_000 }, () => {
  let gateway: GatewayProcess
  let auth: AuthService
  /** On an origin that the gateway allows, and on one that it does not. */
  let allowed: RunningService
  let stranger: RunningService
  let services: RunningService[]
  let browser: Browser
  let context: BrowserContext
  let page: Page
  /** Of the answers' tokens. */
  let pace: Pace

  before(async () => {
    const settings = () => ({
      gateway: gateway.url,
      key: 'sb_publishable_test',
      account: { email: 'ana@acme.example', password: demoPassword },
    })
    const [ingest, query] = await Promise.all([
      startIngest(),
      startQuery({ pace: (sent, left) => pace(sent, left) }),
    ])
    ;[allowed, stranger] = await Promise.all([
      startPage({ port: 0, settings }),
      startPage({ port: 0, settings }),
    ])
    auth = await startAuth({
      externalUrl: () => `${gateway.url}/api/v1/auth/v1`,
      siteUrl: () => allowed.url,
    })
    services = [ingest, query, allowed, stranger, auth]
    gateway = await startGateway({
      env: {
        GATEWAY_INGEST_SERVICE_URL: ingest.url,
        GATEWAY_QUERY_SERVICE_URL: query.url,
        GATEWAY_AUTH_SERVICE_URL: auth.url,
        GATEWAY_JWKS_URL: `${auth.url}/.well-known/jwks.json`,
        GATEWAY_JWT_ISSUER: auth.url,
        GATEWAY_CORS_ORIGINS: allowed.url,
      },
    })
    browser = await startChromium()
  })
  after(async () => {
    await browser?.close()
    await gateway?.stop('SIGKILL')
    await Promise.all((services ?? []).map(service => service.close()))
  })

  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } })
    page = await context.newPage()
    page.setDefaultTimeout(15_000)
    pace = async () => {}
    await open(allowed)
  })
  afterEach(() => context.close())

  it('signs in with supabase-js, and its session survives a reload', async () => {
    await signIn()
    assert.equal(await text('#user'), 'ana@acme.example')
    assert.equal(await text('#company'), 'acme')
    await open(allowed)
    await shows('#session-status', 'Signed in.')
    await press('Sign out')
    await shows('#session-status', 'Signed out: the access token opens nothing any more.')
    assert.equal(await page.getByRole('button', { name: 'Ask' }).isDisabled(), true)
  })

  it('reads why a sign-in was refused', async () => {
    await page.getByLabel('Password').fill('a guess')
    await press('Sign in')
    await shows('#session-status', 'Invalid login credentials')
  })

  it('signs up, and belongs to a company of its own', async () => {
    await page.getByLabel('E-mail').fill('ivo@wayne.example')
    await page.getByLabel('Password').fill('a good password')
    await press('Sign up')
    await shows('#session-status', 'Signed up, in a company of your own.')
    assert.equal(await text('#company'), 'wayne')
  })

  it('signs in by way of a provider, and comes back without a trace of the code', async () => {
    await press('Through a provider')
    await press('carla@globex.example')
    await shows('#session-status', 'Signed in.')
    assert.equal(await text('#company'), 'globex')
    assert.equal(page.url(), `${allowed.url}/`)
  })

  it('comes back from a provider with what the user has refused', async () => {
    await press('Through a provider')
    await page.getByRole('link', { name: 'Cancel' }).click()
    await shows('#session-status', 'The user denied the request')
  })

  it('uploads 50 MB and follows its progress', async () => {
    await signIn()
    await page.evaluate(`
      const bar = document.getElementById('upload-progress')
      globalThis.seen = []
      new MutationObserver(() => seen.push(bar.value)).observe(bar, { attributes: true })
    `)
    await press('Upload 50 MB')
    await shows('#upload-status', '50.0 MB arrived')
    const seen = (await page.evaluate('seen')) as number[]
    const between = seen.filter(value => value > 0 && value < 1)
    assert.ok(between.length > 1, `progress: ${seen}`)
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    )
    assert.equal(seen.at(-1), 1)
  })

  it('reads a streamed answer token by token', async () => {
    await signIn()
    // Each token is made only when the page shows those before it. The page forbids what `waitForFunction` polls with.
    const unshown: unknown[] = []
    pace = sent =>
      page
        .evaluate(`new Promise(resolve => {
          const answer = document.getElementById('answer')
          const look = () => answer.childNodes.length === ${sent} && resolve()
          new MutationObserver(look).observe(answer, { childList: true })
          look()
        })`)
        .then(
          () => {},
          error => void unshown.push(error),
        )
    await press('Ask')
    await shows('#ask-status', /^\d+ tokens in \d+ reads/)
    assert.match(await text('#answer'), /You asked: "Who may read this\?".* only acme can see them/)
    const [, tokens, reads] = /^(\d+) tokens in (\d+) reads/.exec(await text('#ask-status'))!
    assert.deepEqual(unshown, [])
    // The last comes with the end
    assert.ok(Number(reads) >= Number(tokens), `${tokens} tokens came in ${reads} reads`)
  })

  it('listens to events by a ticket, and goes on behind the last one', async () => {
    await signIn()
    await press('Listen')
    await shows('#events div:nth-child(2)', 'for acme')
    await press('Stop', '#events-title')
    await shows('#events-status', 'Stopped.')
    const before = await page.locator('#events div').count()
    await press('Listen')
    await shows(`#events div:nth-child(${before + 2})`, 'for acme')
    const numbers = (await page.locator('#events div').allTextContents()).map(Number.parseFloat)
    const first = numbers[0]!
    assert.deepEqual(
      numbers,
      numbers.map((_, index) => first + index),
      'each once, none left out',
    )
  })

  it('keeps a WebSocket open, talks over it, and is told when its right to it ends', async t => {
    await signIn()
    await press('Connect')
    await shows('#socket-status', 'Open, with the subprotocol demo.live.')
    await shows('#messages', '← welcome acme')
    await page.getByRole('textbox', { name: 'Message' }).fill('¿Hay alguien?')
    await press('Send')
    await shows('#messages', '← echo ¿Hay alguien?')
    await press('Call without a token')
    await press('Ask')
    await press('Upload 50 MB')
    await press('Listen')
    // Something that only the other side has begun.
    await shows('#messages', '← tick')
    await shows('#upload-status', '50.0 MB arrived')
    t.diagnostic(`screenshot: ${await screenshot(page, 'browser')}`)
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.setViewportSize({ width: 390, height: 844 })
    t.diagnostic(`screenshot: ${await screenshot(page, 'browser-phone-dark')}`)

    await press('Sign out')
    await shows('#socket-status', 'Closed with 4401: signed out.')
    await shows('#events-status', 'Signed out.')
  })

  it('opens a WebSocket by a ticket and closes it', async () => {
    await signIn()
    await page.getByLabel('Token goes in').selectOption('ticket')
    await press('Connect')
    await shows('#messages', '← welcome acme')
    await press('Close')
    await shows('#socket-status', 'Closed with 1000: done.')
  })

  it('reads the JSON of a 401 and the id under which it is logged', async () => {
    await press('Call without a token')
    await shows('#refusal-status', /^401, X-Request-ID \S+$/)
    const id = (await text('#refusal-status')).split(' ').at(-1)
    const refusal = JSON.parse(await text('#refusal'))
    assert.equal(refusal.detail, 'Not authenticated')
    assert.equal(refusal.request_id, id)
    const line = await gateway.logged(record => record.request_id === id)
    assert.equal(line.status_code, 401)
  })

  it('is refused from an origin that is not allowed', async () => {
    await open(stranger)
    await press('Sign in')
    await shows('#session-status', 'Failed to fetch')
    const outcome = (attempt: string) => page.evaluate(attempt)
    assert.equal(
      await outcome(`fetch('${gateway.url}/health').then(() => 'read', ({ message }) => message)`),
      'Failed to fetch',
    )

    const { access_token: token } = (await (
      await fetch(`${auth.url}/token?grant_type=password`, {
        method: 'POST',
        body: JSON.stringify({ email: 'ana@acme.example', password: demoPassword }),
      })
    ).json()) as { access_token: string }
    // Browsers let any page open a WebSocket: a good token alone must not be enough.
    const socket = `new Promise(resolve => {
      const socket = new WebSocket('${gateway.url.replace('http', 'ws')}/api/v1/query/live', ['bearer.${token}', 'demo.live'])
      socket.onopen = () => resolve('open')
      socket.onclose = ({ code }) => resolve(code)
    })`
    assert.equal(await outcome(socket), 1006)
    await open(allowed)
    assert.equal(await outcome(socket), 'open')
  })

  async function open(service: RunningService): Promise<void> {
    await page.goto(service.url)
    await page.locator('html[data-ready]').waitFor()
  }

  async function signIn(): Promise<void> {
    await press('Sign in')
    await shows('#session-status', 'Signed in.')
  }

  /** @param title of the part, where several have a button of this name */
  async function press(name: string, title?: string): Promise<void> {
    const part = title === undefined ? page : page.locator(`section[aria-labelledby="${title.slice(1)}"]`)
    await part.getByRole('button', { name, exact: true }).click()
  }

  async function shows(selector: string, content: string | RegExp): Promise<void> {
    const found = page.locator(selector).filter({ hasText: content }).first()
    await found.waitFor().catch(async (error: Error) => {
      const shown = await page.locator(selector).allTextContents()
      throw new Error(`${selector} shows ${JSON.stringify(shown)}, not ${content}`, { cause: error })
    })
  }

  async function text(selector: string): Promise<string> {
    return (await page.locator(selector).textContent()) ?? ''
  }
})
