import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Who runs where: what is measured alone on one core, everything that loads it on another. */
export type Cores = {
  /** Numbers with commas between them, as taskset takes them; null: wherever the kernel likes. */
  measured: string | null
  load: string | null
}

/** The first two cores that this process may use; no pinning at all when there is only one. */
export function chooseCores(): Cores {
  const allowed = allowedCores()
  const [measured, load] = allowed
  if (measured === undefined || load === undefined) return { measured: null, load: null }
  return { measured: String(measured), load: String(load) }
}

/** Two cores for what is measured; the load has the third one, or shares the second where there is none. */
export function twoCores(): Cores {
  const [first, second, third = second] = allowedCores()
  if (first === undefined || second === undefined) return { measured: null, load: null }
  return { measured: `${first},${second}`, load: String(third) }
}

/** A command line that starts the same program pinned to a core. taskset replaces itself: the pid stays. */
export function onCore(core: string | null, command: string[]): [string, ...string[]] {
  const pinned = core === null ? command : ['taskset', '--cpu-list', core, ...command]
  return pinned as [string, ...string[]]
}

/** Moves this process, all threads of it, to the load side. */
export function moveSelfTo(core: string | null): void {
  if (core === null) return
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', core, String(process.pid)], {
    stdio: 'ignore',
  })
}

function allowedCores(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8')
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? ''
  return list.split(',').flatMap(part => {
    const [first, last = first] = part.split('-').map(Number)
    if (first === undefined || last === undefined || Number.isNaN(first)) return []
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}
