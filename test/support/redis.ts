/** A real redis-server from Debian, without persistence, on a port that was free a moment ago. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { needs } from './system.ts'

/** Another server that speaks as Redis does, such as a `valkey-server`, which Debian 12 does not have. */
const COMMAND = process.env.TEST_REDIS_SERVER ?? '/usr/bin/redis-server'

export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly child: ChildProcess
  /** SIGSTOP: it keeps its connections and answers nothing. */
  pause(): void
  resume(): void
  /** SIGKILL, and waits for it. */
  kill(): Promise<void>
  /** Ends it, paused or not. */
  stop(): Promise<void>
}

/** The reason to skip, or false. */
export function needsRedis(): Promise<string | false> {
  return needs('redis-server', { command: COMMAND, packages: ['redis-server'] })
}

/** @param more arguments, such as `['--requirepass', 'secret']` */
export async function startRedis(port?: number, more: readonly string[] = []): Promise<RedisServer> {
  const chosen = port ?? (await freePort())
  const args = ['--port', String(chosen), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...more]
  return start(args, chosen, 'Ready to accept connections')
}

/** @param file its configuration, which it rewrites */
export async function startSentinel(file: string): Promise<RedisServer> {
  const port = await freePort()
  const args = [file, '--sentinel', '--port', String(port), '--bind', '127.0.0.1']
  return start(args, port, '+monitor')
}

/** @param ready what it prints when it listens */
async function start(args: readonly string[], port: number, ready: string): Promise<RedisServer> {
  const child = spawn(COMMAND, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  let printed = ''
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout! }).on('line', line => {
      printed += `${line}\n`
      if (line.includes(ready)) resolve()
    })
    void ended.then(() => reject(new Error(`redis-server ended: ${printed}`)))
    child.once('error', reject)
  })
  const kill = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    child,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    stop: kill,
  }
}

/** A port that nobody listens on, at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
