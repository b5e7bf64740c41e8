/** Where an upstream listens and how to speak to it. */

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { GatewayConfig, UpstreamConfig } from '../config/schema.ts'

export interface Timeouts {
  /** Seconds. */
  readonly connect: number
  readonly firstByte: number
  readonly idle: number
}

export interface Endpoint {
  /** For logs and metrics. */
  readonly name: string
  readonly host: string
  readonly port: number
  /** Value of the Host header. */
  readonly authority: string
  /** Path in front of every request's own, without a slash at its end. */
  readonly basePath: string
  readonly protocol: UpstreamConfig['protocol']
  readonly tls: { readonly ca: string | undefined; readonly servername: string | undefined } | null
  readonly preserveHost: boolean
  readonly maxConnections: number
  readonly maxIdleConnections: number
  /** Seconds an idle connection is kept. */
  readonly idleTimeout: number
  readonly timeouts: Timeouts
}

/** An upstream's settings over the defaults of all. The CA file was checked with the configuration. */
export function endpointOf(
  name: string,
  upstream: UpstreamConfig,
  defaults: GatewayConfig['client'],
): Endpoint {
  const url = new URL(upstream.url)
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const secure = url.protocol === 'https:'
  return {
    name,
    host,
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    authority: url.host,
    basePath: url.pathname.replace(/\/+$/, ''),
    protocol: upstream.protocol,
    tls: secure
      ? {
          ca: upstream.ca === undefined ? undefined : readFileSync(upstream.ca, 'utf8'),
          servername: isIP(host) === 0 ? host : undefined,
        }
      : null,
    preserveHost: upstream.preserveHost,
    maxConnections: upstream.maxConnections ?? defaults.maxConnections,
    maxIdleConnections: upstream.maxIdleConnections ?? defaults.maxIdleConnections,
    idleTimeout: upstream.idleTimeout,
    timeouts: mergeTimeouts(defaults.timeouts, upstream.timeouts),
  }
}

/** Later settings over earlier ones. */
export function mergeTimeouts(
  base: Timeouts,
  over: { [K in keyof Timeouts]?: number | undefined },
): Timeouts {
  return {
    connect: over.connect ?? base.connect,
    firstByte: over.firstByte ?? base.firstByte,
    idle: over.idle ?? base.idle,
  }
}
