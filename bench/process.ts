import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { onCore } from './cores.ts'

export type Program = {
  name: string
  command: string[]
  /** Where its output goes: `<name>.out` and `<name>.err`. */
  directory: string
  core: string | null
  env?: Record<string, string>
  cwd?: string
}

export type Started = {
  name: string
  pid: number
  /** Everything that it wrote to stdout so far. */
  outputFile: string
  /** The last lines of stderr, for a message. */
  complaint: () => string
  exited: Promise<unknown>
  hasExited: () => boolean
  stop: (signal?: NodeJS.Signals) => Promise<void>
}

const STOP_LIMIT = 5_000
/** Ample for a program that starts under valgrind on a busy machine. */
const READY_LIMIT = 40_000

const running = new Set<Started>()

/** Starts a program with a clean environment; it ends with the benchmark at the latest. */
export function start(program: Program): Started {
  const [command, ...args] = onCore(program.core, program.command)
  const outputFile = join(program.directory, `${program.name}.out`)
  const errorFile = join(program.directory, `${program.name}.err`)
  // Opened for appending, so that a log can be cut to nothing between two measurements.
  const output = openSync(outputFile, 'a')
  const errors = openSync(errorFile, 'a')
  const child = spawn(command, args, {
    stdio: ['ignore', output, errors],
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...program.env },
    ...(program.cwd === undefined ? {} : { cwd: program.cwd }),
  })
  closeSync(output)
  closeSync(errors)
  const exited = new Promise<void>(resolve => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const started: Started = {
    name: program.name,
    pid: child.pid ?? 0,
    outputFile,
    complaint: () => readFileSync(errorFile, 'utf8').split('\n').slice(-12).join('\n'),
    exited,
    hasExited: () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null,
    stop: signal => stop(child, exited, signal),
  }
  running.add(started)
  exited.then(() => running.delete(started))
  return started
}

/** Ends every program that is still running. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(started => started.stop()))
}

async function stop(child: ChildProcess, exited: Promise<void>, signal: NodeJS.Signals = 'SIGTERM') {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill(signal)
  const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT)
  await exited
  clearTimeout(limit)
}

/** Resolves when the program accepts connections, or answers 200 on a path where one is given. */
export async function ready(started: Started, port: number, path?: string): Promise<void> {
  const deadline = Date.now() + READY_LIMIT
  while (!(path === undefined ? await accepts(port) : await answers(port, path))) {
    if (started.hasExited())
      throw new Error(`${started.name} ended before it was ready:\n${started.complaint()}`)
    if (Date.now() > deadline)
      throw new Error(`${started.name} is not ready within ${READY_LIMIT / 1000} s:\n${started.complaint()}`)
    await delay(10)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function answers(port: number, path: string): Promise<boolean> {
  return new Promise(resolve => {
    const question = request({ port, path, host: '127.0.0.1', agent: false }, answer => {
      answer.resume()
      answer.once('end', () => resolve(answer.statusCode === 200))
    })
    question.once('error', () => resolve(false))
    question.end()
  })
}

const given = new Set<number>()

/** A loopback port that nobody listens on now, and that was not handed out before. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port was given')
  if (given.has(address.port)) return freePort()
  given.add(address.port)
  return address.port
}
