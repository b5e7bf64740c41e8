import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onCore } from './cores.ts'

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url))

export type Load = {
  url: string
  token: string
  /** The body that every single answer must carry. */
  answer: string
  connections: number
  seconds: number
  core: number | null
}

/** What one run of wrk saw. Latencies are in microseconds, under the full load of all connections. */
export type Seen = {
  requests: number
  seconds: number
  wrong: number
  socketErrors: number
  p50: number
  p99: number
}

/** Loads a URL over keep-alive connections; every answer is compared with the expected one. */
export async function wrk(load: Load): Promise<Seen> {
  const [command, ...args] = onCore(load.core, [
    'wrk',
    '--threads=1',
    `--connections=${load.connections}`,
    `--duration=${load.seconds}s`,
    '--timeout=5s',
    `--script=${SCRIPT}`,
    '--header',
    `Authorization: Bearer ${load.token}`,
    load.url,
    '--',
    load.answer,
  ])
  const output = await outputOf(command, args, (load.seconds + 15) * 1000)
  const line = output.split('\n').find(line => line.startsWith('{'))
  if (line === undefined) throw new Error(`wrk gave no summary:\n${output}`)
  const { microseconds, ...counts } = JSON.parse(line) as Omit<Seen, 'seconds'> & { microseconds: number }
  return { ...counts, seconds: microseconds / 1e6 }
}

function outputOf(command: string, args: string[], timeout: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout })
    let output = ''
    const collect = (chunk: Buffer): void => {
      output += chunk.toString()
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.on('error', reject)
    child.on('close', code => {
      if (code === 0) resolve(output)
      else reject(new Error(`${command} ended with ${code ?? 'a signal'}:\n${output}`))
    })
  })
}
