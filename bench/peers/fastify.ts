import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Contender } from '../contender.ts'
import { installNpmPeer } from '../packages.ts'
import { freePort, ready, start } from '../process.ts'
import { SECRET } from '../token.ts'

const DIRECTORY = fileURLToPath(new URL('fastify/', import.meta.url))
// npm writes this file last, so it tells a whole installation from one that broke off.
const INSTALLED = `${DIRECTORY}node_modules/.package-lock.json`

export const fastify = peer('fastify', 'Fastify + http-proxy + jwt (no log)', false)

/** With the request log that Fastify brings along: what the gateway, whose log is on, compares with like for like. */
export const fastifyLog = peer('fastify-log', 'Fastify + http-proxy + jwt, log on', true)

function peer(name: string, label: string, logs: boolean): Contender {
  return {
    name,
    label,
    authenticates: true,
    logs,
    missing: async () => (existsSync(INSTALLED) ? null : installNpmPeer(DIRECTORY)),
    start: async ({ directory, upstreamPort, cores }) => {
      const port = await freePort()
      const started = start({
        name,
        directory,
        core: cores.measured,
        command: [process.execPath, `${DIRECTORY}server.js`],
        env: {
          NODE_ENV: 'production',
          PORT: String(port),
          UPSTREAM: `http://127.0.0.1:${upstreamPort}`,
          JWT_SECRET: SECRET,
          LOG: logs ? 'on' : 'off',
        },
      })
      await ready(started, port)
      return { name, port, process: started }
    },
  }
}
