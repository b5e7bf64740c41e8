import type { Contender } from './contender.ts'
import { envoy, krakend, traefik } from './peers/found.ts'
import { haproxy, haproxyLog } from './peers/haproxy.ts'
import { nginx, nginxNjs } from './peers/nginx.ts'
import { express, fastify, fastifyLog, hello, undici } from './peers/node.ts'
import { caddy, varnish } from './peers/plain.ts'

/** All that the gateway is measured against, in the order of the tables. */
export const PEERS: readonly Contender[] = [
  haproxyLog,
  haproxy,
  nginx,
  nginxNjs,
  caddy,
  varnish,
  envoy,
  krakend,
  traefik,
  undici,
  fastify,
  fastifyLog,
  express,
  hello,
]

export type Present = {
  contenders: Contender[]
  /** Who cannot run here, and why. */
  leftOut: string[]
}

/** Those of the candidates that this machine can run. */
export async function present(candidates: Contender[]): Promise<Present> {
  const found: Present = { contenders: [], leftOut: [] }
  for (const contender of candidates) {
    const reason = await contender.missing()
    if (reason === null) found.contenders.push(contender)
    else found.leftOut.push(`${contender.name} is left out: ${reason}.`)
  }
  return found
}
