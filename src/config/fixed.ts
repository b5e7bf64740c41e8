/**
 * What a gateway cannot change while it runs: where it listens, with how many threads, the form of its log, the memory of
 * its limits, its Redis, how usage is counted.
 */

import { differencesOf } from './differences.ts'
import { DEFAULT_MAX_KEYS } from './limits.ts'
import type { GatewayConfig } from './schema.ts'

/** Plain data, so that a thread that starts later gets what the others run with. */
export interface FixedSettings {
  readonly server: Pick<GatewayConfig['server'], 'host' | 'port' | 'workers' | 'tls' | 'reloadOnChange'>
  readonly admin: Pick<GatewayConfig['admin'], 'host' | 'port'>
  readonly log: Pick<GatewayConfig['log'], 'format'>
  readonly limits: { readonly maxKeys: number }
  readonly redis: GatewayConfig['redis']
  readonly usage: GatewayConfig['usage']
}

/** @param running what a configuration without limits has nothing to say against */
export function fixedOf(config: GatewayConfig, running?: FixedSettings): FixedSettings {
  const { server, admin, log, limits, redis, usage } = config
  const { host, port, workers, tls, reloadOnChange } = server
  return {
    server: { host, port, workers, tls, reloadOnChange },
    admin: { host: admin.host, port: admin.port },
    log: { format: log.format },
    limits: { maxKeys: limits?.maxKeys ?? running?.limits.maxKeys ?? DEFAULT_MAX_KEYS },
    redis,
    usage,
  }
}

/** A configuration under which a gateway that runs with these settings can go on. */
export function withFixed(
  config: GatewayConfig,
  { server, admin, log, limits, redis, usage }: FixedSettings,
): GatewayConfig {
  return {
    ...config,
    server: { ...config.server, ...server },
    admin: { ...config.admin, ...admin },
    log: { ...config.log, ...log },
    ...(config.limits === undefined ? {} : { limits: { ...config.limits, ...limits } }),
    redis,
    usage,
  }
}

/** The keys that would have to change, and need a restart for that. */
export function restartKeys(running: FixedSettings, wanted: FixedSettings): string[] {
  return differencesOf(running, wanted, { isSection }).map(({ place }) => place)
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
