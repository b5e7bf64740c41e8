/** What the commands do. Each gives the exit code. */

import { styleText } from 'node:util'
import { describeRoutes, type RouteDescription } from '../admin/route-table.ts'
import { type ConfigSource, type Loaded, loadConfig } from '../config/load.ts'
import type { GatewayConfig } from '../config/schema.ts'
import { watchConfig } from '../config/watch.ts'
import type { RunningGateway } from '../server.ts'
import { DatabaseUnusable } from '../usage/database.ts'
import { surviveFaults } from '../workers/faults.ts'
import { planWorkers } from '../workers/plan.ts'

interface CommandOptions {
  readonly file: string | undefined
}

/** After sysexits.h: a wrong configuration, a wrong command line. */
export const CONFIG = 78
export const USAGE = 64
export const FAILURE = 1

export async function start(options: CommandOptions): Promise<number> {
  const loaded = await loadConfig(options)
  if (loaded.config === null) return reportProblems(loaded)
  const signals = listenForSignals()
  const warnings = [...loaded.warnings]
  let gateway: RunningGateway
  try {
    gateway = await startAsPlanned(loaded.config, loaded.source, warnings, () => {
      // From the same place: the environment is what it was, what stands in files is read anew.
      // A file that is away for a moment is missed, not done without.
      const { directory, env, file } = loaded.source
      return loadConfig({ ...options, directory, env, file: file?.path ?? options.file })
    })
  } catch (error) {
    process.stderr.write(`nyro-gateway: ${startFailure(error as NodeJS.ErrnoException)}\n`)
    return FAILURE
  }
  for (const warning of warnings) gateway.log.logger.warn(warning)
  surviveFaults(gateway.log)
  signals.onReload(() => void gateway.reload())
  if (loaded.config.server.reloadOnChange) watchConfig(loaded.source, () => void gateway.reload())
  await signals.first
  signals.onNext(() => void gateway.abandon().finally(() => process.exit(FAILURE)))
  await gateway.close()
  return 0
}

async function startAsPlanned(
  config: GatewayConfig,
  source: ConfigSource,
  warnings: string[],
  load: () => Promise<Loaded>,
): Promise<RunningGateway> {
  const { workers, warning } = await planWorkers(config)
  if (warning !== null) warnings.push(warning)
  // Of what serves and what supervises, each thread loads only what it is.
  if (workers === 1) {
    const { startAlone } = await import('../server.ts')
    return startAlone(config, load)
  }
  const { startSupervisor } = await import('../workers/supervisor.ts')
  return startSupervisor(config, source, workers, load)
}

export async function check(options: CommandOptions): Promise<number> {
  const loaded = await loadConfig(options)
  if (loaded.config === null) return reportProblems(loaded)
  reportWarnings(loaded)
  const count = loaded.config.routes.length
  process.stdout.write(`${sourceOf(loaded)}: valid, ${count} ${count === 1 ? 'route' : 'routes'}\n`)
  return 0
}

export async function routes(options: CommandOptions): Promise<number> {
  const loaded = await loadConfig(options)
  if (loaded.config === null) return reportProblems(loaded)
  process.stdout.write(table(describeRoutes(loaded.config)))
  return 0
}

function sourceOf(loaded: Loaded): string {
  return loaded.file ?? 'environment'
}

export function reportProblems(loaded: Loaded): number {
  const { problems } = loaded
  const lines = problems.map(
    ({ place, message }) => `  ${styleText('bold', place, { stream: process.stderr })} ${message}`,
  )
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  reportWarnings(loaded)
  process.stderr.write(
    `nyro-gateway: ${count} in the configuration (${sourceOf(loaded)}), nothing was started\n${lines.join('\n')}\n`,
  )
  return CONFIG
}

function reportWarnings(loaded: Loaded): void {
  for (const warning of loaded.warnings) process.stderr.write(`warning: ${warning}\n`)
}

function startFailure(error: NodeJS.ErrnoException & { port?: number; address?: string }): string {
  const at = `${error.address ?? ''}:${error.port ?? ''}`
  if (error.code === 'EADDRINUSE') {
    return `${at} is in use: stop what listens there, or set PORT (front), GATEWAY_TLS_PORT (front, TLS) or GATEWAY_ADMIN_PORT (admin, or off)`
  }
  if (error.code === 'EACCES') return `no permission to listen on ${at}: choose a port over 1023`
  if (error.code === 'EADDRNOTAVAIL')
    return `${at} is no address of this machine: set GATEWAY_HOST or GATEWAY_ADMIN_HOST`
  if (error instanceof DatabaseUnusable) return `usage cannot be kept: ${error.message}`
  return error.stack ?? String(error)
}

/** Ctrl-C under npm arrives twice, from the terminal and from npm: within this time it is one. */
const NPM_ECHO_MS = 300

interface Signals {
  /** Resolves with the first that asks for the end. */
  readonly first: Promise<void>
  /** The next one that does. */
  onNext(listener: () => void): void
  /** SIGHUP, as often as it comes. */
  onReload(listener: () => void): void
}

/** Hears SIGTERM, SIGINT and SIGHUP from now on: also one that comes while the gateway is still starting. */
function listenForSignals(): Signals {
  let next: (() => void) | null = null
  let reload: (() => void) | null = null
  let reloadWanted = false
  process.on('SIGHUP', () => {
    if (reload === null) reloadWanted = true
    else reload()
  })
  const first = new Promise<void>(resolve => {
    let heardAt = 0
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        const now = performance.now()
        if (heardAt === 0) heardAt = now
        else if (!isEcho(name, now - heardAt)) next?.()
        resolve()
      })
    }
  })
  return {
    first,
    onNext(listener) {
      next = listener
    },
    onReload(listener) {
      reload = listener
      if (reloadWanted) listener()
    },
  }
}

function isEcho(name: string, after: number): boolean {
  return name === 'SIGINT' && process.env.npm_lifecycle_event !== undefined && after < NPM_ECHO_MS
}

function table(rows: readonly RouteDescription[]): string {
  const head: RouteDescription = {
    name: 'NAME',
    methods: 'METHODS',
    match: 'MATCH',
    target: 'TARGET',
    guards: 'GUARDS',
  }
  const all = [head, ...rows]
  const widths = {
    name: Math.max(...all.map(row => row.name.length)),
    methods: Math.max(...all.map(row => row.methods.length)),
    match: Math.max(...all.map(row => row.match.length)),
    target: Math.max(...all.map(row => row.target.length)),
  }
  return all
    .map(row =>
      [
        row.name.padEnd(widths.name),
        row.methods.padEnd(widths.methods),
        row.match.padEnd(widths.match),
        row.target.padEnd(widths.target),
        row.guards,
      ].join('  '),
    )
    .map(line => `${line.trimEnd()}\n`)
    .join('')
}
