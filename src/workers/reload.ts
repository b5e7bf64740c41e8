/**
 * Another configuration for a gateway that runs: loaded from where the first came from, checked, and taken over as a whole
 * or not at all. The same for one worker and for several, and for whoever asks for it.
 */

import { type Changes, type Configured, changesBetween } from '../changes.ts'
import { fixedOf, restartKeys, withFixed } from '../config/fixed.ts'
import type { ConfigSource, Loaded } from '../config/load.ts'
import type { Problem } from '../config/problem.ts'
import type { GatewayConfig } from '../config/schema.ts'
import { describeError, type Log } from '../telemetry/log.ts'
import { endpointsOf } from '../upstream/endpoints.ts'
import type { Prepared } from './serve.ts'

export type ReloadOutcome =
  | { readonly kind: 'reloaded'; readonly changes: Changes; readonly restartKeys: readonly string[] }
  /** Nothing has changed. */
  | { readonly kind: 'refused'; readonly problems: readonly Problem[] }
  /** The gateway is stopping. */
  | { readonly kind: 'stopping' }

export interface ReloaderOptions {
  readonly config: GatewayConfig
  readonly log: Log
  /** Loads the configuration again; null: there is no place to load it from. */
  readonly load: (() => Promise<Loaded>) | null
  readonly stopping: () => boolean
  /** Makes ready whoever serves. @throws what keeps any of them from it */
  readonly prepare: (config: GatewayConfig, source: ConfigSource) => Promise<Prepared>
}

export class Reloader {
  readonly #options: ReloaderOptions
  #current: Configured
  #running: Promise<ReloadOutcome> | null = null
  #next: Promise<ReloadOutcome> | null = null

  constructor(options: ReloaderOptions) {
    const { config } = options
    this.#options = options
    this.#current = { config, endpoints: endpointsOf(config) }
  }

  /** What the gateway runs with. */
  get config(): GatewayConfig {
    return this.#current.config
  }

  /**
   * One at a time. Whoever asks while one is under way gets another one behind it, since that may have read its files
   * already; all who ask meanwhile get the same. Never rejects: what is wrong is logged, and told.
   */
  reload(): Promise<ReloadOutcome> {
    if (this.#running === null) return this.#begin()
    this.#next ??= this.#running.then(() => {
      this.#next = null
      return this.#begin()
    })
    return this.#next
  }

  #begin(): Promise<ReloadOutcome> {
    const run = this.#run().then(outcome => {
      this.#running = null
      return outcome
    })
    this.#running = run
    return run
  }

  async #run(): Promise<ReloadOutcome> {
    const { load, stopping } = this.#options
    const startedAt = performance.now()
    if (stopping()) return { kind: 'stopping' }
    if (load === null) return this.#refuse([{ place: '', message: 'there is nothing to load it from' }])
    try {
      const loaded = await load()
      this.#warn(loaded.warnings)
      if (loaded.config === null) return this.#refuse(loaded.problems)
      return await this.#takeOver(loaded.config, loaded.source, startedAt)
    } catch (error) {
      return this.#refuse([{ place: '', message: String(describeError(error)) }])
    }
  }

  async #takeOver(wanted: GatewayConfig, source: ConfigSource, startedAt: number): Promise<ReloadOutcome> {
    const { log, stopping, prepare } = this.#options
    const fixed = fixedOf(this.config)
    const keys = restartKeys(fixed, fixedOf(wanted, fixed))
    const config = withFixed(wanted, fixed)
    const next = { config, endpoints: endpointsOf(config) }
    const changes = changesBetween(this.#current, next)
    const prepared = await prepare(config, source)
    if (stopping()) {
      prepared.discard()
      return { kind: 'stopping' }
    }
    await prepared.swap()
    this.#current = next
    log.setLevel(config.log.level)
    if (keys.length > 0)
      log.logger.warn({ keys }, 'Settings that need a restart have changed: the old ones stay')
    const { added, changed, removed, upstreams } = changes
    log.logger.info(
      {
        routes: config.routes.length,
        added: few(added),
        changed: few(changed),
        removed: few(removed),
        upstreams_kept: upstreams.kept,
        upstreams_closed: upstreams.closed,
        duration: Math.round(performance.now() - startedAt) / 1000,
      },
      'Configuration reloaded',
    )
    return { kind: 'reloaded', changes, restartKeys: keys }
  }

  #warn(warnings: readonly string[]): void {
    for (const warning of warnings) this.#options.log.logger.warn(warning)
  }

  #refuse(problems: readonly Problem[]): ReloadOutcome {
    const told = problems.map(({ place, message }) => (place === '' ? message : `${place} ${message}`))
    this.#options.log.logger.error({ problems: told }, 'Configuration not reloaded: the old one stays')
    return { kind: 'refused', problems }
  }
}

/** Names that one log line has room for. */
const MAX_NAMES = 50

function few(names: readonly string[]): readonly string[] {
  return names.length <= MAX_NAMES
    ? names
    : [...names.slice(0, MAX_NAMES), `and ${names.length - MAX_NAMES} more`]
}
