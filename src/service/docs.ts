import type { GatewayConfig, RouteConfig } from '../config/schema.ts'
import { ERRORS } from '../errors.ts'
import { takesTickets } from './tickets.ts'

/** The page behind `type` in every problem: routes, what guards them, and every error code with its meaning. */
export function docsPage(config: GatewayConfig): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(config.name)}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #8884 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }
tr:target { background: #fc03 }
.scroll { overflow-x: auto }
</style>
</head>
<body>
<h1>${escapeHtml(config.name)}</h1>
<p>Machine-readable: <a href="/openapi.json">/openapi.json</a>. Health: <a href="/health">/health</a>, <a href="/ready">/ready</a>.</p>
<h2>Routes</h2>
<div class="scroll"><table>
<thead><tr><th>Path</th><th>Methods</th><th>Token</th></tr></thead>
<tbody>
${config.routes.map(routeRow).join('\n')}
</tbody>
</table></div>
<p>Send the Supabase <code>access_token</code> as <code>Authorization: Bearer …</code>. Every answer carries <code>X-Request-ID</code>; name it when you ask for help.</p>
${takesTickets(config) ? ticketText(config.tickets.path) : ''}<h2>Errors</h2>
<p>Errors of the gateway are <code>application/problem+json</code>; <code>code</code> is one of these and stable.</p>
<div class="scroll"><table>
<thead><tr><th>Code</th><th>Status</th><th>Detail</th></tr></thead>
<tbody>
${Object.entries(ERRORS).map(errorRow).join('\n')}
</tbody>
</table></div>
</body>
</html>
`
}

function ticketText(path: string): string {
  return `<p>A WebSocket or an EventSource of a browser cannot: <code>POST ${escapeHtml(path)}</code> with the token gives a ticket, to be put behind its URL as <code>?ticket=…</code>, once and soon.</p>
`
}

function routeRow(route: RouteConfig): string {
  const host = route.host === undefined ? '' : `${route.host} `
  const guard = { required: 'required', optional: 'optional', none: 'not checked' }[route.auth]
  return `<tr><td><code>${escapeHtml(host + route.path)}</code></td><td>${escapeHtml(route.methods?.join(', ') ?? 'any')}</td><td>${guard}</td></tr>`
}

function errorRow([code, { status, detail }]: [string, { status: number; detail: string }]): string {
  return `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${escapeHtml(detail)}</td></tr>`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
