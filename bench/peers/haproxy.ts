import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Contender, Running, Setting } from '../contender.ts'
import { missingPackages } from '../packages.ts'
import { freePort, ready, start } from '../process.ts'
import { SECRET } from '../token.ts'

const ABOUT = 'One thread, jwt_verify with HS256 and the claims read on every request.'

export const haproxy: Contender = {
  name: 'haproxy',
  label: 'HAProxy, jwt_verify (no log)',
  duty: 'identity',
  logs: false,
  about: `${ABOUT} Its log is off.`,
  version: ['haproxy', '-v'],
  missing: () => missingPackages(['haproxy']),
  start: setting => startHaproxy('haproxy', setting, false),
}

export const haproxyLog: Contender = {
  name: 'haproxy-log',
  label: 'HAProxy, jwt_verify, log on',
  duty: 'identity',
  logs: true,
  about: `${ABOUT} One line a request to a file.`,
  version: ['haproxy', '-v'],
  missing: () => missingPackages(['haproxy']),
  start: setting => startHaproxy('haproxy-log', setting, true),
}

/** For streams: it holds short pieces of an answer back otherwise, for up to a tenth of a second. */
export const haproxyNoDelay: Contender = {
  ...haproxyLog,
  name: 'haproxy-no-delay',
  label: 'HAProxy, jwt_verify, log on, http-no-delay',
  start: setting => startHaproxy('haproxy-no-delay', setting, true, { option: 'option http-no-delay' }),
}

/**
 * So many requests/s for each company, and the server gets no more at a time than it works on; beyond that they wait
 * here. A request that is refused is not tracked: it would count, and whoever asks too often would get nothing at all.
 */
export function haproxyLimited(perSecond: number, slots: number): Contender {
  return {
    ...haproxyLog,
    name: 'haproxy-stick-table',
    label: `HAProxy, stick-table: ${perSecond}/s for each company; maxconn ${slots}`,
    about:
      `${ABOUT} One line a request to a file. A stick-table by company, from the token, refuses what is more than ` +
      `${perSecond / 10} requests in a tenth of a second; \`maxconn ${slots}\` for the server.`,
    start: setting =>
      startHaproxy('haproxy-stick-table', setting, true, {
        frontend: `
  http-request deny deny_status 429 if { var(txn.company),table_http_req_rate(companies) ge ${perSecond / 10} }
  http-request track-sc0 var(txn.company) table companies`,
        server: `maxconn ${slots}`,
        end: `
backend companies
  stick-table type string len 64 size 100k expire 10s store http_req_rate(100ms)`,
      }),
  }
}

/** Lines beside those that all have. */
type Further = { option?: string; frontend?: string; server?: string; end?: string }

async function startHaproxy(
  name: string,
  setting: Setting,
  logs: boolean,
  further: Further = {},
): Promise<Running> {
  const port = await freePort()
  const file = join(setting.directory, `${name}.cfg`)
  await writeFile(file, configuration(port, setting.upstreamPort, logs, further))
  const process = start({
    name,
    directory: setting.directory,
    core: setting.cores.measured,
    command: ['haproxy', '-db', '-f', file],
  })
  await ready(process, port)
  return { name, port, process }
}

// The signature is computed as HS256 whatever the token's header says, which saves reading that header.
function configuration(port: number, upstreamPort: number, logs: boolean, further: Further): string {
  const { option = '', frontend = '', server = '', end = '' } = further
  return `
global
  nbthread 1
  maxconn 10200
  no strict-limits
  ${logs ? 'log stdout format raw local0' : ''}

defaults
  mode http
  ${option}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  ${logs ? 'log global\n  option httplog' : ''}

frontend edge
  bind 127.0.0.1:${port}
  http-request set-var(txn.token) http_auth_bearer
  http-request deny deny_status 401 unless { var(txn.token),jwt_verify("HS256","${SECRET}") -m int 1 }
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless { var(txn.now),neg,add(txn.exp) -m int gt 0 }
  http-request deny deny_status 401 unless { var(txn.token),jwt_payload_query('$.aud') -m str authenticated }
  http-request set-var(txn.user) var(txn.token),jwt_payload_query('$.sub')
  http-request deny deny_status 401 unless { var(txn.user) -m len gt 0 }
  http-request set-var(txn.company) var(txn.token),jwt_payload_query('$.app_metadata.company_id')
  http-request deny deny_status 403 unless { var(txn.company) -m len gt 0 }
  http-request set-var(txn.email) var(txn.token),jwt_payload_query('$.email')
  ${frontend}
  http-request del-header X-User-Email
  http-request set-header X-Company-ID %[var(txn.company)]
  http-request set-header X-User-ID %[var(txn.user)]
  http-request set-header X-User-Email %[var(txn.email)] if { var(txn.email) -m len gt 0 }
  default_backend service

backend service
  http-reuse always
  server upstream 127.0.0.1:${upstreamPort} ${server}
${end}
`
}
