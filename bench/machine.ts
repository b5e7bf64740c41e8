import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { promisify } from 'node:util'
import type { Cores } from './cores.ts'
import { PEERS } from './field.ts'

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
  const programs: [string, ...string[]][] = [
    ['wrk', '-v'],
    ...PEERS.flatMap(({ version }) => (version ? [version] : [])),
  ]
  const known = new Map(programs.map(program => [program[0], program]))
  const found = await Promise.all(
    [...known.values()].map(async program => [program[0], await version(program)]),
  )
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    pinned:
      cores.measured === null
        ? 'nothing is pinned: there is one core only'
        : `the measured process on core ${cores.measured}, load and upstream on core ${cores.load}`,
    versions: {
      node: process.versions.node,
      ...Object.fromEntries(found.filter(([, version]) => version !== null)),
      ...(await npmVersions()),
    },
  }
}

export function machineLine({ cpu, cores, memoryGiB, kernel, pinned, versions }: Machine): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}; ${pinned}. ${programs.join(', ')}.`
}

/** The first version number that a program says of itself, on whichever stream, with whichever exit code. */
async function version([command, ...args]: [string, ...string[]]): Promise<string | null> {
  const said = await promisify(execFile)(command, args, { timeout: 10_000 }).catch(
    (error: { stdout?: string; stderr?: string }) => error,
  )
  return /\d+\.\d+[\w.+-]*/.exec(`${said.stdout ?? ''}${said.stderr ?? ''}`)?.[0] ?? null
}

/** What the npm peers are pinned to. */
async function npmVersions(): Promise<Record<string, string>> {
  const versions: Record<string, string> = {}
  for (const peer of ['fastify', 'express', 'undici']) {
    const file = new URL(`peers/${peer}/package.json`, import.meta.url)
    const { dependencies } = JSON.parse(await readFile(file, 'utf8')) as {
      dependencies: Record<string, string>
    }
    Object.assign(versions, dependencies)
  }
  return versions
}
