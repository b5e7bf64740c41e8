import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Contender, Running, Setting } from '../contender.ts'
import { missingPackages } from '../packages.ts'
import { freePort, ready, type Started, start } from '../process.ts'
import { SECRET } from '../token.ts'

const VERIFIER = fileURLToPath(new URL('jwt.njs.js', import.meta.url))

/** The floor: it forwards, and neither checks nor logs anything. */
export const nginx: Contender = {
  name: 'nginx',
  label: 'nginx, plain proxy (no check, no log)',
  duty: 'forward',
  about: 'One worker, keep-alive upstream; it checks and logs nothing: the floor for a proxy here.',
  version: ['nginx', '-v'],
  logs: false,
  missing: () => missingPackages(['nginx']),
  start: setting => startProxy('nginx', setting, { directives: '', location: '' }),
}

/** The same for streams: every piece of an answer leaves as it comes. */
export const nginxUnbuffered: Contender = {
  ...nginx,
  name: 'nginx-unbuffered',
  label: 'nginx, proxy_buffering off (no check, no log)',
  about: 'One worker, keep-alive upstream, proxy_buffering off; it checks and logs nothing.',
  start: setting =>
    startProxy('nginx-unbuffered', setting, { directives: '', location: 'proxy_buffering off;' }),
}

/** So many requests/s for each company, which it knows from a header: it verifies no tokens by itself. */
export function nginxLimited(perSecond: number, burst: number): Contender {
  return {
    ...nginx,
    name: 'nginx-limit-req',
    label: `nginx, limit_req: ${perSecond}/s for each company`,
    about:
      `One worker, keep-alive upstream; no token is verified and no line written. \`limit_req\` by the company that a header ` +
      `names, ${perSecond} requests/s and ${burst} at once.`,
    start: setting =>
      startProxy('nginx-limit-req', setting, {
        directives: `limit_req_zone $http_x_company_id zone=companies:10m rate=${perSecond}r/s;`,
        location: `limit_req zone=companies burst=${burst} nodelay; limit_req_status 429; limit_req_log_level info;`,
      }),
  }
}

export const nginxNjs: Contender = {
  name: 'nginx-njs',
  label: 'nginx + njs (no log)',
  duty: 'identity',
  about: 'The token is verified in JavaScript inside nginx (njs) on every request; no log.',
  version: ['nginx', '-v'],
  logs: false,
  missing: () => missingPackages(['nginx', 'libnginx-mod-http-js']),
  start: setting =>
    startProxy('nginx-njs', setting, {
      directives: `
        js_import jwt from ${VERIFIER};
        js_var $jwt_secret ${SECRET};
        js_set $verdict jwt.verdict;`,
      // An empty value removes the header: what a client sent under these names never passes.
      location: `
        set $company ''; set $user ''; set $email '';
        if ($verdict = 401) { return 401; }
        if ($verdict = 403) { return 403; }
        proxy_set_header X-Company-ID $company;
        proxy_set_header X-User-ID $user;
        proxy_set_header X-User-Email $email;`,
    }),
}

async function startProxy(
  name: string,
  { directory, upstreamPort, cores }: Setting,
  check: { directives: string; location: string },
): Promise<Running> {
  const port = await freePort()
  const process = await startNginx(
    name,
    directory,
    cores.measured,
    port,
    `
    ${check.directives}
    upstream service { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000000; }
    server {
      listen 127.0.0.1:${port} backlog=4096;
      location / {
        ${check.location}
        proxy_pass http://service;
        proxy_http_version 1.1;
        proxy_set_header Connection '';
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
        client_max_body_size 0;
      }
    }`,
  )
  return { name, port, process }
}

/** Starts one nginx worker in the foreground, on files of its own, whatever the system's service does. */
export async function startNginx(
  name: string,
  directory: string,
  core: string | null,
  port: number,
  http: string,
): Promise<Started> {
  const file = join(directory, `${name}.conf`)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const asRoot = process.getuid?.() === 0
  await writeFile(
    file,
    `daemon off; worker_processes 1; pid ${directory}/${name}.pid; error_log stderr warn;
    ${asRoot ? 'user root;' : ''}
    ${http.includes('js_import') ? `load_module ${await modulesPath()}/ngx_http_js_module.so;` : ''}
    events { worker_connections 16384; }
    http {
      access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
      ${temporary.map(kind => `${kind}_temp_path ${directory}/${name}.${kind};`).join('\n')}
      ${http}
    }`,
  )
  const started = start({ name, directory, core, command: ['nginx', '-p', directory, '-c', file] })
  await ready(started, port)
  return started
}

/** Where this nginx was built to look for its dynamic modules. */
async function modulesPath(): Promise<string> {
  const { stderr } = await promisify(execFile)('nginx', ['-V'])
  return /--modules-path=(\S+)/.exec(stderr)?.[1] ?? '/usr/lib/nginx/modules'
}
