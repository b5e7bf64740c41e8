import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onCore } from '../cores.ts'
import { token } from '../token.ts'
import type { Expected, Question, Seen } from './question.ts'

const SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url))

export type WrkLoad = {
  kind: 'wrk'
  connections: number
  question: Question
  expected: Expected
}

/** Asks one question over and over, as fast as it is answered; every answer is compared with the expected one. */
export async function wrk(load: WrkLoad, port: number, seconds: number, core: string | null): Promise<Seen> {
  const { question, expected } = load
  const [command, ...args] = onCore(core, [
    'wrk',
    '--threads=1',
    `--connections=${load.connections}`,
    `--duration=${seconds}s`,
    '--timeout=5s',
    `--script=${SCRIPT}`,
    ...(question.token ? ['--header', `Authorization: Bearer ${token()}`] : []),
    ...(question.close ? ['--header', 'Connection: close'] : []),
    ...(question.bodyBytes === undefined ? [] : ['--header', 'Content-Type: application/octet-stream']),
    `http://127.0.0.1:${port}${question.path}`,
    '--',
    question.method,
    String(question.bodyBytes ?? 0),
    String(expected.status),
    ...judged(expected),
  ])
  const output = await outputOf(command, args, (seconds + 15) * 1000)
  const line = output.split('\n').find(line => line.startsWith('{'))
  if (line === undefined) throw new Error(`wrk gave no summary:\n${output}`)
  const { microseconds, ...counts } = JSON.parse(line) as Omit<Seen, 'seconds'> & { microseconds: number }
  return { ...counts, seconds: microseconds / 1e6 }
}

function judged(expected: Expected): string[] {
  if ('body' in expected) return ['body', expected.body]
  return 'bytes' in expected ? ['bytes', String(expected.bytes)] : ['any']
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
