/** The demo as its users run it, for tests: a process of its own, and its commands in a shell. */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { needs } from '../test/support/system.ts'

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const run = promisify(execFile)

/** The last line that the demo prints before it waits. */
const lastLine = 'Ctrl-C ends all of it.'

/** The reason to skip, or false. */
export function needsCurl(): Promise<string | false> {
  return needs('curl', { command: '/usr/bin/curl', packages: ['curl'] })
}

/** @param port of the gateway, and of the page; 0: one that the system chooses */
export function startDemo(port: number, pagePort = 0): ChildProcess {
  return spawn(process.execPath, [program, 'demo'], {
    env: { PATH: process.env.PATH, PORT: String(port), DEMO_PAGE_PORT: String(pagePort) },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A demo that does not end by itself fails its test instead of outliving it.
    timeout: 40_000,
    killSignal: 'SIGKILL',
  })
}

/** What the demo printed until it waits. */
export async function untilReady(child: ChildProcess): Promise<string> {
  let printed = ''
  let complaints = ''
  child.stderr!.setEncoding('utf8').on('data', piece => {
    complaints += piece
  })
  for await (const piece of child.stdout!.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    printed += piece
    if (printed.includes(lastLine)) {
      child.stdout!.resume()
      return printed
    }
  }
  throw new Error(`the demo ended early: ${complaints}`)
}

/** The command below the comment that has these words. */
export function commandBelow(text: string, words: string): string {
  const lines = text.split('\n')
  const at = lines.findIndex(line => line.startsWith('# ') && line.includes(words))
  if (at === -1) throw new Error(`nothing is printed about "${words}"`)
  return lines[at + 1] ?? ''
}

/** Runs a line exactly as it would be pasted and gives its output. */
export async function paste(line: string): Promise<string> {
  return (await run('sh', ['-c', line], { timeout: 20_000 })).stdout
}
