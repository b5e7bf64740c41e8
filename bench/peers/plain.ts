import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Contender } from '../contender.ts'
import { missingPackages } from '../packages.ts'
import { freePort, ready, start } from '../process.ts'

// Proxies out of Debian without a token check of their own.

export const caddy: Contender = {
  name: 'caddy',
  label: 'Caddy, plain proxy (no check, no log)',
  duty: 'forward',
  logs: false,
  about:
    'GOMAXPROCS=1, 256 idle connections upstream in place of its default of 32; it checks and logs nothing.',
  version: ['caddy', 'version'],
  missing: () => missingPackages(['caddy']),
  start: async ({ directory, upstreamPort, cores }) => {
    const port = await freePort()
    const file = join(directory, 'Caddyfile')
    await writeFile(
      file,
      `{
  admin off
  auto_https off
}
http://127.0.0.1:${port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${upstreamPort} {
    transport http {
      keepalive_idle_conns 256
      keepalive_idle_conns_per_host 256
      compression off
    }
  }
}
`,
    )
    const process = start({
      name: 'caddy',
      directory,
      core: cores.measured,
      command: ['caddy', 'run', '--config', file, '--adapter', 'caddyfile'],
      env: { GOMAXPROCS: '1', XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    })
    await ready(process, port)
    return { name: 'caddy', port, process }
  },
}

export const varnish: Contender = {
  name: 'varnish',
  label: 'Varnish, plain proxy (no check, no cache)',
  duty: 'forward',
  logs: false,
  about:
    'Passes everything to the upstream, keeps nothing; it checks nothing and logs to its shared memory only.',
  version: ['varnishd', '-V'],
  missing: () => missingPackages(['varnish']),
  start: async ({ directory, upstreamPort, cores }) => {
    const port = await freePort()
    const file = join(directory, 'varnish.vcl')
    await writeFile(
      file,
      `vcl 4.1;
backend upstream { .host = "127.0.0.1"; .port = "${upstreamPort}"; }
sub vcl_recv { return (pass); }
`,
    )
    const process = start({
      name: 'varnish',
      directory,
      core: cores.measured,
      command: [
        ...['varnishd', '-F', '-j', 'none', '-n', join(directory, 'varnish')],
        ...['-a', `127.0.0.1:${port}`, '-f', file, '-s', 'malloc,64m'],
        ...['-p', 'thread_pools=1', '-p', 'thread_pool_min=100'],
      ],
    })
    await ready(process, port)
    return { name: 'varnish', port, process }
  },
}
