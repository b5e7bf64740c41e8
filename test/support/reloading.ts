/** A gateway whose config file is changed while it runs. */

import { type ConfigDirectory, configDirectory } from './config.ts'
import { type GatewayProcess, type LogRecord, startGateway } from './gateway.ts'
import { until } from './until.ts'

export interface ReloadingGateway extends GatewayProcess {
  readonly directory: ConfigDirectory
  /** Writes the file. */
  write(content: unknown): void
  /** Sends SIGHUP, after writing the file if given something; the log line on what came of it. */
  reload(content?: unknown): Promise<LogRecord>
  /** Log lines on what came of reloads, so far. */
  outcomes(): LogRecord[]
}

/** How many workers this run is about. */
export const WORKERS = Number(process.env.GATEWAY_WORKERS ?? 1)

export interface ReloadingOptions {
  readonly name?: string
  readonly env?: Record<string, string | undefined>
  /** Beside the config file, in the working directory: name → text. */
  readonly files?: Record<string, string>
}

export async function startReloading(
  content: unknown,
  { name = 'gateway.config.json', env = {}, files = {} }: ReloadingOptions = {},
): Promise<ReloadingGateway> {
  const directory = configDirectory()
  for (const [other, text] of Object.entries(files)) directory.write(other, text)
  const file = directory.write(name, content)
  const gateway = await startGateway({
    args: ['--config', file],
    cwd: directory.path,
    env: {
      GATEWAY_WORKERS: String(WORKERS),
      GATEWAY_ADMIN_PORT: '0',
      GATEWAY_INGEST_SERVICE_URL: undefined,
      GATEWAY_QUERY_SERVICE_URL: undefined,
      ...env,
    },
  })
  gateway.child.once('exit', () => directory.remove())
  const outcomes = (): LogRecord[] => gateway.log.filter(({ event }) => isOutcome(String(event)))
  const write = (changed: unknown): void => void directory.write(name, changed)
  return {
    ...gateway,
    directory,
    write,
    outcomes,
    async reload(changed) {
      if (changed !== undefined) write(changed)
      const before = outcomes().length
      gateway.child.kill('SIGHUP')
      return until('the reload is over', () => outcomes()[before])
    },
  }
}

const isOutcome = (event: string): boolean => /^Configuration (?:not )?reloaded/.test(event)
