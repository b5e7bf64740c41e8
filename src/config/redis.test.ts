import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { redisUrl } from './redis.ts'

const SINGLE = { kind: 'single', tls: false, master: '', database: 0, username: '', password: '' }

describe('a Redis URL', () => {
  const cases: [string, object][] = [
    ['redis://cache', { ...SINGLE, hosts: [{ host: 'cache', port: 6379 }] }],
    ['redis://10.0.0.7:7000/3', { ...SINGLE, hosts: [{ host: '10.0.0.7', port: 7000 }], database: 3 }],
    ['redis://[::1]:7000', { ...SINGLE, hosts: [{ host: '::1', port: 7000 }] }],
    ['redis://:p%40ss@cache', { ...SINGLE, hosts: [{ host: 'cache', port: 6379 }], password: 'p@ss' }],
    [
      'redis://user:a:b@cache/',
      { ...SINGLE, hosts: [{ host: 'cache', port: 6379 }], username: 'user', password: 'a:b' },
    ],
    ['rediss://cache', { ...SINGLE, tls: true, hosts: [{ host: 'cache', port: 6379 }] }],
    [
      'redis+sentinel://a,b:27000/main/2',
      {
        ...SINGLE,
        kind: 'sentinel',
        master: 'main',
        database: 2,
        hosts: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 27000 },
        ],
      },
    ],
    [
      'rediss+cluster://user:pw@a:1,b:2',
      {
        ...SINGLE,
        kind: 'cluster',
        tls: true,
        username: 'user',
        password: 'pw',
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
  ]
  for (const [url, target] of cases) test(url, () => assert.deepEqual(redisUrl.parse(url), target))
})

describe('is refused, without its password', () => {
  const faults = [
    'http://cache',
    'cache:6379',
    'redis://',
    'redis://a,b',
    'redis://:secret@cache:99999',
    'redis+sentinel://:secret@a',
    'redis+cluster://:secret@a/1',
    'redis://:secret@cache/name',
    'redis://:%zz-secret@cache',
    'redis://:secret@ca che',
  ]
  for (const url of faults) {
    test(url, () => {
      const { error } = redisUrl.safeParse(url)
      assert.match(error!.issues[0]!.message, /^is no Redis URL: write redis:/)
      assert.doesNotMatch(JSON.stringify(error!.issues), /secret/)
    })
  }
})
