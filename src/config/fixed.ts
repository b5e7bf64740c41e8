/** What a gateway cannot change while it runs: where it listens, with how many threads, the form of its log, its Redis, how usage is counted. */

import { isDeepStrictEqual } from 'node:util'
import type { GatewayConfig } from './schema.ts'

/** Plain data, so that a thread that starts later gets what the others run with. */
export interface FixedSettings {
  readonly server: Pick<GatewayConfig['server'], 'host' | 'port' | 'workers' | 'tls'>
  readonly admin: Pick<GatewayConfig['admin'], 'host' | 'port'>
  readonly log: Pick<GatewayConfig['log'], 'format'>
  readonly redis: GatewayConfig['redis']
  readonly usage: GatewayConfig['usage']
}

export function fixedOf({ server, admin, log, redis, usage }: GatewayConfig): FixedSettings {
  const { host, port, workers, tls } = server
  return {
    server: { host, port, workers, tls },
    admin: { host: admin.host, port: admin.port },
    log: { format: log.format },
    redis,
    usage,
  }
}

/** A configuration under which a gateway that runs with these settings can go on. */
export function withFixed(
  config: GatewayConfig,
  { server, admin, log, redis, usage }: FixedSettings,
): GatewayConfig {
  return {
    ...config,
    server: { ...config.server, ...server },
    admin: { ...config.admin, ...admin },
    log: { ...config.log, ...log },
    redis,
    usage,
  }
}

/** The keys that would have to change, and need a restart for that. */
export function restartKeys(running: FixedSettings, wanted: FixedSettings): string[] {
  return differences(running, wanted, '')
}

function differences(before: unknown, after: unknown, place: string): string[] {
  if (isDeepStrictEqual(before, after)) return []
  if (!isSection(before) || !isSection(after)) return [place]
  const keys = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...keys].flatMap(key =>
    differences(before[key], after[key], place === '' ? key : `${place}.${key}`),
  )
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
