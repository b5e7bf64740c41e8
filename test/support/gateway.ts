/** Starts the gateway as its users do: a process of its own, told by environment and config file. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export const SECRET = 'test-secret-of-at-least-thirty-two-bytes'

export interface GatewayProcess {
  readonly url: string
  readonly port: number
  /** Set with a certificate. */
  readonly tlsUrl: string | null
  readonly adminUrl: string | null
  readonly child: ChildProcess
  /** Every log line so far, parsed; lines that are no JSON as `{ raw }`. */
  readonly log: LogRecord[]
  /** Resolves with the first line, past or future, that fits. */
  logged(fits: (record: LogRecord) => boolean): Promise<LogRecord>
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export type LogRecord = Record<string, unknown>

export interface GatewayOptions {
  /** Over an environment that holds a secret, port 0 and nothing else; undefined removes a variable. */
  readonly env?: Record<string, string | undefined>
  readonly args?: readonly string[]
  readonly cwd?: string
}

/** What the process gets of this one's environment: enough to run, nothing that configures. */
function environment(env: Record<string, string | undefined> = {}): NodeJS.ProcessEnv {
  const base: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    PORT: '0',
    GATEWAY_HOST: '127.0.0.1',
    GATEWAY_ADMIN_PORT: 'off',
    // How many the run is about (scripts/test.ts); as many as there are CPUs where it is about nothing in particular
    GATEWAY_WORKERS: process.env.GATEWAY_WORKERS,
    GATEWAY_JWT_SECRET: SECRET,
    GATEWAY_INGEST_SERVICE_URL: 'http://127.0.0.1:1',
    GATEWAY_QUERY_SERVICE_URL: 'http://127.0.0.1:1',
    ...env,
  }
  return Object.fromEntries(Object.entries(base).filter(([, value]) => value !== undefined))
}

/** A gateway that listens. Rejects with what it printed when it ends before that. */
export async function startGateway(options: GatewayOptions = {}): Promise<GatewayProcess> {
  const child = spawn(process.execPath, [MAIN, 'start', ...(options.args ?? [])], {
    cwd: options.cwd ?? `${ROOT}test`,
    env: environment(options.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log: LogRecord[] = []
  const waiting = new Set<{ fits: (record: LogRecord) => boolean; resolve: (record: LogRecord) => void }>()
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', text => {
    errors += text
  })
  createInterface({ input: child.stdout }).on('line', line => {
    const record = parse(line)
    log.push(record)
    for (const waiter of waiting) {
      if (!waiter.fits(record)) continue
      waiting.delete(waiter)
      waiter.resolve(record)
    }
  })
  // Not `exit`: what it said last may still be on its way then
  const ended = once(child, 'close') as Promise<[number | null]>
  const logged = (fits: (record: LogRecord) => boolean): Promise<LogRecord> => {
    const past = log.find(fits)
    if (past !== undefined) return Promise.resolve(past)
    return new Promise((resolve, reject) => {
      waiting.add({ fits, resolve })
      void ended.then(() => reject(new Error(`the gateway ended: ${errors}`)))
    })
  }
  const listening = await logged(record => record.event === 'Gateway listening')
  const url = String(listening.url)
  return {
    url,
    port: Number(new URL(url).port),
    tlsUrl: (listening.tls_url as string | undefined) ?? null,
    adminUrl: listening.admin_url as string | null,
    child,
    log,
    logged,
    async stop(signal = 'SIGTERM') {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      const [code] = await ended
      return code
    },
  }
}

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command of the CLI to its end, which is forced after 30 s: `code` is null then. */
export async function runCommand(
  args: readonly string[],
  options: Omit<GatewayOptions, 'args'> = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd ?? `${ROOT}test`,
    env: environment(options.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  return { code, stdout, stderr }
}

function parse(line: string): LogRecord {
  try {
    return JSON.parse(line) as LogRecord
  } catch {
    return { raw: line }
  }
}
