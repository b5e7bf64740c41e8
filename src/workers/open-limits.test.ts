import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const OPEN = new URL('./open-limits.ts', import.meta.url).href
const SERVER = new URL('../server.ts', import.meta.url).href

/** Whether the client of Redis is loaded by a process that does so much and no more. */
async function loads(code: string): Promise<boolean> {
  const script = `
    import { createRequire } from 'node:module'
    ${code}
    console.log(Object.keys(createRequire('${OPEN}').cache).some(file => file.includes('ioredis')))
    process.exit()
  `
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script])
  return stdout.trim() === 'true'
}

test('the client of Redis is loaded by those who name one, and by nobody else', async () => {
  assert.equal(await loads(`await import('${SERVER}')`), false)
  const board = `
    const { Board } = await import('${new URL('./board.ts', import.meta.url).href}')
    const { openLimits } = await import('${OPEN}')
    const { redisSchema } = await import('${new URL('../config/redis.ts', import.meta.url).href}')
    const redis = redisSchema.parse({ url: 'redis://127.0.0.1:1' })
    const open = config => openLimits({ config, board: Board.create(1), id: 0, logger: { warn() {}, info() {}, error() {} } })
  `
  assert.equal(await loads(`${board} await open({})`), false)
  assert.equal(await loads(`${board} await open({ redis })`), true)
})
