/**
 * How many CPUs this process may use. `os.availableParallelism` knows the affinity mask and the quota of cgroup v2
 * (`cpu.max`, of the group and those above it, rounded down). The quota of cgroup v1 it looks for under a path that does
 * not exist (libuv 1.52), so that one is read here.
 */

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

type Read = (path: string) => string

export function grantedCpus(read: Read = path => readFileSync(path, 'utf8')): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(firstVersionQuota(read))))
}

/** CPUs by the quota of cgroup v1; infinite without one. */
export function firstVersionQuota(read: Read): number {
  // `4:cpu,cpuacct:/docker/0123`; the line of v2 names no controllers
  const line = attempt(() => read('/proc/self/cgroup'))
    ?.split('\n')
    .map(text => text.split(':'))
    .find(([, controllers]) => controllers?.split(',').includes('cpu'))
  if (line === undefined) return Number.POSITIVE_INFINITY
  const [, controllers, ...rest] = line
  const steps = rest.join(':').split('/').filter(Boolean)
  let least = Number.POSITIVE_INFINITY
  // Within a container the group itself is often mounted at the root, without the path that is its name outside.
  for (let length = steps.length; length >= 0; length--) {
    const folder = ['/sys/fs/cgroup', controllers, ...steps.slice(0, length)].join('/')
    const quota = Number(attempt(() => read(`${folder}/cpu.cfs_quota_us`)) ?? Number.NaN)
    const period = Number(attempt(() => read(`${folder}/cpu.cfs_period_us`)) ?? Number.NaN)
    // -1: no limit
    if (quota > 0 && period > 0) least = Math.min(least, quota / period)
  }
  return least
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
