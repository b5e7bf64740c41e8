import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

// Figures of a running process and all of its descendants, from /proc (proc(5)): nginx answers from a worker
// process, not from the one that was started.

// USER_HZ is part of the kernel's interface: 100 on every platform that Node runs on.
const TICK_MICROSECONDS = 10_000

/**
 * CPU time used so far by a process tree, all threads, user and system, in microseconds. From the scheduler's own
 * account in nanoseconds; from ticks of 10 ms where the kernel keeps none.
 */
export function cpuMicroseconds(root: number): number {
  return sum([...threadMicroseconds(root).values()], value => value)
}

/** The same for each thread that is alive, by its number. */
export function threadMicroseconds(root: number): Map<string, number> {
  const found = new Map<string, number>()
  for (const pid of tree(root)) {
    for (const thread of threads(pid)) {
      const [nanoseconds] = read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')
      found.set(thread, nanoseconds ? Number(nanoseconds) / 1000 : ticks(`/proc/${pid}/task/${thread}/stat`))
    }
  }
  return found
}

/** Resident memory of a process tree in bytes. Pages shared between its processes count once in each. */
export function residentBytes(root: number): number {
  return sum(tree(root), pid => statusBytes(pid, 'VmRSS'))
}

/** Forgets the high-water mark of a process tree's resident memory; false where this kernel cannot do that. */
export function resetPeak(root: number): boolean {
  try {
    for (const pid of tree(root)) writeFileSync(`/proc/${pid}/clear_refs`, '5')
    return true
  } catch {
    return false
  }
}

/** The high-water mark since `resetPeak`: exact, where samples may miss the top. */
export function peakBytes(root: number): number {
  return sum(tree(root), pid => statusBytes(pid, 'VmHWM'))
}

/** Busy time of some cores since boot, in microseconds, whoever used them; stolen time included. */
export function coresBusyMicroseconds(cores: string): number {
  const stat = readFileSync('/proc/stat', 'utf8')
  return cores.split(',').reduce((total, core) => {
    const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(stat)?.[1] ?? ''
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(' ').map(Number)
    return total + (user + nice + system + irq + softirq + steal) * TICK_MICROSECONDS
  }, 0)
}

function tree(root: number): number[] {
  const found = [root]
  for (const pid of found) found.push(...children(pid))
  return found
}

/** Each thread of a process lists the children that it started. */
function children(pid: number): number[] {
  return threads(pid).flatMap(thread =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  )
}

function threads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

function ticks(file: string): number {
  const stat = read(file)
  // After the command's name, which may itself contain spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROSECONDS
}

function statusBytes(pid: number, field: string): number {
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`))?.[1]
  return Number(kibibytes ?? 0) * 1024
}

/** Empty when the process ended while the list was walked. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function sum(values: number[], figure: (value: number) => number): number {
  return values.reduce((total, value) => total + (figure(value) || 0), 0)
}
