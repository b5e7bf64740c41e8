import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Contender, Duty } from '../contender.ts'
import { installNpmPeer } from '../packages.ts'
import { freePort, ready, start } from '../process.ts'
import { SECRET } from '../token.ts'

type NodePeer = {
  name: string
  label: string
  /** Its directory under peers/, with a `server.js` and, where it has packages, their lock file. */
  directory: string
  duty: Duty
  logs: boolean
  about: string
}

/** The documented use of the plugins, nothing added. */
const FASTIFY = '@fastify/http-proxy and @fastify/jwt as their documentation shows them.'

export const fastify = nodePeer({
  name: 'fastify',
  label: 'Fastify + http-proxy + jwt (no log)',
  directory: 'fastify',
  duty: 'identity',
  logs: false,
  about: FASTIFY,
})

/** With the request log that Fastify brings along: what the gateway, whose log is on, compares with like for like. */
export const fastifyLog = nodePeer({
  name: 'fastify-log',
  label: 'Fastify + http-proxy + jwt, log on',
  directory: 'fastify',
  duty: 'identity',
  logs: true,
  about: `${FASTIFY} Its own request log, two lines a request.`,
})

export const express = nodePeer({
  name: 'express',
  label: 'Express + http-proxy-middleware + jsonwebtoken (no log)',
  directory: 'express',
  duty: 'identity',
  logs: false,
  about:
    'A keep-alive agent upstream, which http-proxy-middleware has only when told; jsonwebtoken on every request.',
})

/** What a Node program could do at least with the client library that Node itself is built on. */
export const undici = nodePeer({
  name: 'undici',
  label: 'node:http + undici + verified tokens kept (no log)',
  directory: 'undici',
  duty: 'identity',
  logs: false,
  about:
    'The least a Node proxy can be with libraries: node:http in, undici out, verified tokens kept in a map. No limits, no error handling worth the name.',
})

/** The yardstick for answers that need no upstream. */
export const hello = nodePeer({
  name: 'hello',
  label: 'node:http, bare "hello world" with status 401',
  directory: 'hello',
  duty: 'answer',
  logs: false,
  about: 'Looks at nothing and answers a constant: what `node:http` itself costs.',
})

function nodePeer({ directory: folder, ...peer }: NodePeer): Contender {
  const directory = fileURLToPath(new URL(`${folder}/`, import.meta.url))
  // npm writes this file last, so it tells a whole installation from one that broke off.
  const installed = `${directory}node_modules/.package-lock.json`
  return {
    ...peer,
    missing: async () =>
      !existsSync(`${directory}package-lock.json`) || existsSync(installed)
        ? null
        : installNpmPeer(directory),
    start: async ({ directory: output, upstreamPort, cores }) => {
      const port = await freePort()
      const started = start({
        name: peer.name,
        directory: output,
        core: cores.measured,
        command: [process.execPath, `${directory}server.js`],
        env: {
          NODE_ENV: 'production',
          PORT: String(port),
          UPSTREAM: `http://127.0.0.1:${upstreamPort}`,
          JWT_SECRET: SECRET,
          LOG: peer.logs ? 'on' : 'off',
        },
      })
      await ready(started, port)
      return { name: peer.name, port, process: started }
    },
  }
}
