import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { checkConfig } from './check.ts'
import { loadConfig } from './load.ts'
import { dotted } from './problem.ts'
import { type GatewayOptions, gatewaySchema } from './schema.ts'
import { usagePlace, usageSchema } from './usage.ts'

const directory = mkdtempSync(join(tmpdir(), 'gateway-usage-'))
after(() => rmSync(directory, { recursive: true }))
mkdirSync(join(directory, 'folder.db'))

const REDIS = { url: 'redis://127.0.0.1:6379' }
const file = join(directory, 'usage.db')

function check(options: GatewayOptions): string[] {
  return checkConfig(gatewaySchema.parse(options)).map(({ path, message }) => `${dotted(path)} ${message}`)
}

describe('where usage is kept', () => {
  const place = (usage: object, redis?: typeof REDIS) =>
    usagePlace(usageSchema.parse(usage), redis && gatewaySchema.parse({ redis }).redis)

  for (const [what, found, expected] of [
    ['a file of its own, by itself', place({}), { kind: 'sqlite', file: 'nyro-usage.db' }],
    ['Redis, where there is one', place({}, REDIS), { kind: 'redis' }],
    ['a file that was named, also beside Redis', place({ file }, REDIS), { kind: 'sqlite', file }],
    [
      'a file, where that was asked for',
      place({ store: 'sqlite' }, REDIS),
      { kind: 'sqlite', file: 'nyro-usage.db' },
    ],
    ['Redis, where that was asked for', place({ store: 'redis' }, REDIS), { kind: 'redis' }],
  ] as const) {
    test(what, () => assert.deepEqual(found, expected))
  }
})

describe('a usage section', () => {
  for (const [what, options] of [
    ['with nothing in it', { usage: { file } }],
    ['in Redis', { usage: {}, redis: REDIS }],
    ['that is not there', {}],
    [
      'with everything',
      { usage: { store: 'sqlite', file, flush: '5s', keep: 30, timeZone: 'Europe/Madrid' } },
    ],
  ] as const) {
    test(`${what} is sound`, () => assert.deepEqual(check(options as GatewayOptions), []))
  }

  for (const [what, options, says] of [
    [
      'Redis that is not there',
      { usage: { store: 'redis' } },
      /^usage\.store is redis, but there is none: set redis\.url/,
    ],
    [
      'two places',
      { usage: { store: 'redis', file }, redis: REDIS },
      /^usage\.file belongs to the store sqlite/,
    ],
    [
      'a directory that is not there',
      { usage: { file: `${directory}/none/usage.db` } },
      /^usage\.file .*none is no directory that can be written to: name a file/,
    ],
    [
      'a file that is a directory',
      { usage: { file: `${directory}/folder.db` } },
      /^usage\.file .*folder\.db is no file/,
    ],
    ['no time between writes', { usage: { file, flush: 0 } }, /^usage\.flush must be longer than 0/],
  ] as const) {
    test(`with ${what} is refused`, () => {
      const problems = check(options as GatewayOptions)
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0]!, says)
    })
  }

  test('is on where the environment names a file', async () => {
    const env = { GATEWAY_JWT_SECRET: 'a-shared-secret-of-more-than-32-bytes' }
    const load = async (more: Record<string, string>) =>
      (await loadConfig({ env: { ...env, ...more }, directory, dotenv: false })).config!.usage
    assert.equal(await load({}), undefined)
    const usage = await load({ GATEWAY_USAGE_FILE: file })
    assert.deepEqual(usage, { file, unsent: 'nyro-usage-unsent.json', flush: 1, keep: 400, timeZone: 'UTC' })
  })

  test('has a time zone of the database', () => {
    const { success, error } = usageSchema.safeParse({ timeZone: 'Madrid' })
    assert.equal(success, false)
    assert.match(error!.issues[0]!.message, /is no time zone/)
  })
})
