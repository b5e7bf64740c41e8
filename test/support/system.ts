/** What tests need from Debian: installed where that is allowed, said aloud where it is not. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const LOCK = path.join(tmpdir(), 'nyro-gateway-test-apt.lock')
/** A lock older than this was left behind by a process that died. */
const STALE = 300_000

export interface Need {
  /** The program that the packages bring. */
  readonly command: string
  readonly packages: readonly string[]
  /** More that must succeed before the need counts as met: a program and its arguments. */
  readonly check?: readonly [string, ...string[]]
}

/**
 * Makes sure that a program is there. Gives `false` when it is, else the reason to skip, fit for `{ skip }`.
 * @throws under CI=true, where nothing may be skipped
 */
export async function needs(name: string, need: Need): Promise<string | false> {
  if (await present(need)) return false
  const how = `apt-get install ${need.packages.join(' ')}`
  let reason = `${name} is missing; to get it: ${how}`
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    try {
      await locked(async () => {
        if (!(await present(need))) await install(need.packages)
      })
    } catch (thrown) {
      reason = `${name} is missing and could not be installed (${how}): ${(thrown as Error).message}`
    }
    if (await present(need)) return false
  }
  if (process.env.CI === 'true') throw new Error(reason)
  return reason
}

async function present({ command, check }: Need): Promise<boolean> {
  if (!existsSync(command)) return false
  if (check === undefined) return true
  const [program, ...args] = check
  return run(program, args).then(
    () => true,
    () => false,
  )
}

async function install(packages: readonly string[]): Promise<void> {
  const args = ['install', '--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', ...packages]
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: 240_000 }
  try {
    await run('apt-get', args, options)
  } catch {
    // A fresh image has no package lists, or old ones
    await run('apt-get', ['update'], options)
    await run('apt-get', args, options)
  }
}

/** One at a time over all test files, which run in parallel: a directory can be made only once. */
async function locked(work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      await mkdir(LOCK)
      break
    } catch {
      const age = await stat(LOCK).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0,
      )
      if (age > STALE) await rm(LOCK, { recursive: true, force: true })
      else await delay(200)
    }
  }
  try {
    await work()
  } finally {
    await rm(LOCK, { recursive: true, force: true })
  }
}
