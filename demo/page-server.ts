import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { sendDetail, sendJson, splitTarget } from './json.ts'
import { type RunningService, startService } from './service.ts'

export interface PageSettings {
  /** Where the gateway is, for browsers. */
  gateway: string
  /** The public key of the project, which supabase-js cannot do without. */
  key: string
  /** What the form for signing in is filled with. */
  account: { email: string; password: string }
}

export interface PageOptions {
  port: number
  /** Asked with each request: the gateway learns its port after this page has. */
  settings: () => PageSettings
}

const folder = new URL('./page/', import.meta.url)
const html = 'text/html; charset=utf-8'
const script = 'text/javascript; charset=utf-8'

const types: Record<string, string> = {
  'index.html': html,
  'page.css': 'text/css; charset=utf-8',
  ...Object.fromEntries(
    ['answer', 'elements', 'events', 'page', 'refusal', 'session', 'socket', 'supabase', 'upload'].map(
      name => [`${name}.js`, script],
    ),
  ),
}

/** Serves the page of the demo, on an origin that is not the gateway's: browsers then ask for all that they ask for. */
export async function startPage({ port, settings }: PageOptions): Promise<RunningService> {
  const service = await startService('page', handle, { port })
  // The name that people type; as an origin it is another one than the address.
  return { ...service, url: service.url.replace('127.0.0.1', 'localhost') }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return sendDetail(response, 405, 'Method Not Allowed', { Allow: 'GET, HEAD' })
    }
    const { path } = splitTarget(request)
    const name = path === '/' ? 'index.html' : path.slice(1)
    if (name === 'settings.json') return sendJson(response, 200, settings(), { 'Cache-Control': 'no-store' })
    const type = Object.hasOwn(types, name) ? types[name] : undefined
    if (type === undefined) return sendDetail(response, 404, 'Not Found')
    const body = await readFile(name === 'supabase.js' ? supabaseFile() : new URL(name, folder))
    response.writeHead(200, {
      'Content-Type': type,
      'Content-Length': body.length,
      'Cache-Control': 'no-cache',
      'X-Content-Type-Options': 'nosniff',
      // A code or an error may stand in the address that the browser came back to.
      'Referrer-Policy': 'no-referrer',
      'Content-Security-Policy': policy(settings().gateway),
    })
    response.end(body)
  }
}

/** Its own files and the gateway, nothing else. */
function policy(gateway: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    'img-src data:',
    `connect-src 'self' ${gateway} ${gateway.replace('http', 'ws')}`,
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** The library as it is published for browsers. A built gateway has it beside the page, as it has no packages. */
function supabaseFile(): URL {
  const beside = new URL('supabase.js', folder)
  return existsSync(beside)
    ? beside
    : new URL('./umd/supabase.js', import.meta.resolve('@supabase/supabase-js'))
}
