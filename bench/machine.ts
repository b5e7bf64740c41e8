import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { promisify } from 'node:util'
import type { Cores } from './cores.ts'

/** Where the figures come from: without it they mean nothing. */
export type Machine = {
  cpu: string
  cores: number
  memoryGiB: number
  kernel: string
  pinned: string
  versions: Record<string, string>
}

export async function describeMachine(cores: Cores): Promise<Machine> {
  const [nginx, haproxy, wrk, fastify] = await Promise.all([
    version('nginx', '-v'),
    version('haproxy', '-v'),
    version('wrk', '-v'),
    fastifyVersions(),
  ])
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    pinned:
      cores.measured === null
        ? 'nothing is pinned: there is one core only'
        : `the measured process on core ${cores.measured}, load and upstream on core ${cores.load}`,
    versions: { node: process.versions.node, nginx, haproxy, wrk, ...fastify },
  }
}

export function machineLine({ cpu, cores, memoryGiB, kernel, pinned, versions }: Machine): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}; ${pinned}. ${programs.join(', ')}.`
}

/** The first version number that a program says of itself, on whichever stream, with whichever exit code. */
async function version(command: string, flag: string): Promise<string> {
  const said = await promisify(execFile)(command, [flag]).catch(
    (error: { stdout?: string; stderr?: string }) => error,
  )
  return /\d+\.\d+[\w.+-]*/.exec(`${said.stdout ?? ''}${said.stderr ?? ''}`)?.[0] ?? 'absent'
}

async function fastifyVersions(): Promise<Record<string, string>> {
  const file = new URL('peers/fastify/package.json', import.meta.url)
  return (JSON.parse(await readFile(file, 'utf8')) as { dependencies: Record<string, string> }).dependencies
}
