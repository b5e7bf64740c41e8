import { fileURLToPath } from 'node:url'
import { type InspectColor, styleText } from 'node:util'
import { demoPassword } from './accounts.ts'
import { errorsPath } from './error-routes.ts'
import type { RunningService } from './service.ts'

export interface Tour {
  /** Where the gateway listens. */
  url: string
  /** Where the page is, for browsers. */
  page: string
  services: readonly RunningService[]
  tokens: { ana: string; carla: string; nadie: string }
}

const purpose: Record<string, string> = {
  ingest: 'takes uploads as a stream',
  query: 'streams answers',
  auth: 'signs users in, issues ES256 tokens',
}

/** What the demo prints once it runs: where everything is, and commands to paste into another terminal. */
export function tourText(tour: Tour): string {
  const { url, page, services, tokens } = tour
  const question = `'${url}/api/v1/query/ask?q=Who+may+read+this'`
  const bearer = (token: string) => `-H 'Authorization: Bearer ${token}'`

  const places = [
    place('page', page, 'open it in a browser: sign-in, upload, streams, WebSocket'),
    place('gateway', url, `documentation at ${url}/docs`),
    ...services.map(({ name, url: address }) => place(name, address, purpose[name] ?? '')),
  ]
  const steps = [
    step('acme asks as ana@acme.example; the answer streams in', `curl -N ${bearer(tokens.ana)} ${question}`),
    step('globex asks as carla@globex.example', `curl -N ${bearer(tokens.carla)} ${question}`),
    step(
      'acme uploads 20 MB; the answer has size and SHA-256',
      `head -c 20000000 /dev/urandom | curl -T - ${bearer(tokens.ana)} '${url}/api/v1/ingest/documents/random.bin'`,
    ),
    step(
      'a ticket opens one stream without a token, as browsers need it (for a WebSocket see the page)',
      `ticket=$(curl -s -X POST ${bearer(tokens.ana)} '${url}/api/v1/tickets' | sed 's/.*"ticket":"\\([^"]*\\)".*/\\1/'); curl -sN -H 'Accept: text/event-stream' "${url}/api/v1/query/events?ticket=$ticket" | head -n 9`,
    ),
    step('no token: 401', `curl -i ${question}`),
    step('a user without a company: 403', `curl -i ${bearer(tokens.nadie)} ${question}`),
    step(
      'globex asks for twice what the query service can do, acme for five requests a second: 15 s, a line each',
      loadCommand(url),
    ),
    step('every error, one curl line each', `curl ${url}${errorsPath}`),
    step(
      'a fresh token, for these are good for an hour',
      `curl -d '{"email":"ana@acme.example","password":"${demoPassword}"}' '${url}/api/v1/auth/token?grant_type=password'`,
    ),
  ]
  return [
    '',
    ...places,
    '',
    'Paste into another terminal:',
    '',
    ...steps,
    style('dim', 'Ctrl-C ends all of it.'),
    '',
  ].join('\n')
}

/** The same Node that runs this, and the file beside this one: as it is here, or as it was built. */
function loadCommand(url: string): string {
  const file = import.meta.url.endsWith('.ts') ? './load.ts' : './load.js'
  const words = [process.execPath, fileURLToPath(new URL(file, import.meta.url)), url]
  return words.map(word => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
}

function place(name: string, url: string, what: string): string {
  return `  ${style('bold', name.padEnd(8))}  ${style('cyan', url.padEnd(23))}  ${style('dim', what)}`
}

// A comment in front, so that the two lines can also be pasted together.
function step(what: string, command: string): string {
  return `${style('green', `# ${what}`)}\n${command}\n`
}

/** Colour on a terminal that shows it, plain text into a file or a pipe. */
function style(format: InspectColor, text: string): string {
  return styleText(format, text, { stream: process.stdout })
}
