import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstVersionQuota, grantedCpus } from './granted-cpus.ts'

const files = (content: Record<string, string>) => (path: string) => {
  const text = content[path]
  if (text === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' })
  return text
}

test('the quota of cgroup v1 is read, whatever controllers it is mounted with', () => {
  for (const name of ['cpu', 'cpu,cpuacct', 'cpuacct,cpu']) {
    const read = files({
      '/proc/self/cgroup': `3:memory:/a\n2:${name}:/a/b\n0::/\n`,
      [`/sys/fs/cgroup/${name}/a/b/cpu.cfs_quota_us`]: '150000\n',
      [`/sys/fs/cgroup/${name}/a/b/cpu.cfs_period_us`]: '100000\n',
    })
    assert.equal(firstVersionQuota(read), 1.5)
    assert.equal(grantedCpus(read), 1)
  }
})

test('the least quota on the way up counts', () => {
  const read = files({
    '/proc/self/cgroup': '2:cpu:/a/b\n',
    '/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us': '-1\n',
    '/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us': '100000\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '400000\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
  })
  assert.equal(firstVersionQuota(read), 4)
})

test('a quota of less than one CPU is one worker', () => {
  const read = files({
    '/proc/self/cgroup': '2:cpu:/\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '20000\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
  })
  assert.equal(grantedCpus(read), 1)
})

test('no quota, no files, no cgroups: no bound', () => {
  for (const content of [
    {},
    { '/proc/self/cgroup': '0::/pod\n' },
    { '/proc/self/cgroup': '2:cpu:/\n', '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n' },
  ]) {
    assert.equal(firstVersionQuota(files(content as Record<string, string>)), Number.POSITIVE_INFINITY)
    assert.ok(grantedCpus(files(content as Record<string, string>)) >= 1)
  }
})
