import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checksumOf, content, MEBIBYTE, receive } from './content.ts'

const fast = { speed: 'fast', stall: false } as const

async function blocks(): Promise<Buffer[]> {
  return Array.fromAsync(content(MEBIBYTE, fast))
}

async function* bodyOf(parts: Buffer[]): AsyncGenerator<Buffer> {
  yield* parts
}

test('what is sent is what is expected, however it was cut', async () => {
  const whole = Buffer.concat(await blocks())
  const received = await receive(bodyOf([whole.subarray(0, 7), whole.subarray(7)]), MEBIBYTE, fast)
  assert.deepEqual(received, { bytes: MEBIBYTE, checksum: checksumOf(MEBIBYTE) })
})

test('two parts in the wrong order are noticed', async () => {
  const [first, second, ...rest] = await blocks()
  const received = await receive(bodyOf([second!, first!, ...rest]), MEBIBYTE, fast)
  assert.equal(received.bytes, MEBIBYTE)
  assert.notEqual(received.checksum, checksumOf(MEBIBYTE))
})

test('a slow side keeps to its speed', async () => {
  const begin = performance.now()
  await Array.fromAsync(content(8 * MEBIBYTE, { speed: 'slow', stall: false }))
  assert.ok(performance.now() - begin >= 120, `${performance.now() - begin} ms`)
})
