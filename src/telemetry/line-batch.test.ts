import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LineBatch } from './line-batch.ts'

describe('a batch of lines', () => {
  test('gives what came, once, in order', () => {
    const batch = new LineBatch()
    assert.equal(batch.empty, true)
    for (const line of ['a\n', '{"path":"/é/語/😀"}\n', 'b\n']) batch.add(line)
    assert.equal(batch.empty, false)
    assert.equal(batch.take(), 'a\n{"path":"/é/語/😀"}\nb\n')
    assert.equal(batch.empty, true)
    assert.equal(batch.take(), '')
  })

  test('never cuts a line that it said would fit, whatever its characters take', () => {
    const batch = new LineBatch()
    const line = `${'語'.repeat(100)}\n`
    let count = 0
    for (; batch.fits(line); count++) batch.add(line)
    assert.ok(count > 200)
    assert.equal(batch.take(), line.repeat(count))
    assert.equal(batch.fits('x'.repeat(30_000)), false, 'in the worst case it would not')
  })
})
