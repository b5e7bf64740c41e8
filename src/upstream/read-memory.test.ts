import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ReadMemory } from './read-memory.ts'

describe('the memory of reads', () => {
  test('is shared by all connections while reads are small, and lends nothing', () => {
    const [a, b] = [new ReadMemory(), new ReadMemory()]
    const first = a.next()
    assert.ok(first !== undefined)
    assert.equal(b.next(), first)
    assert.equal(a.next(), undefined, 'the same again')
    assert.equal(a.lends, false)
  })

  test('is of its own from the second large read on, and goes back when the answer ends', () => {
    const memory = new ReadMemory()
    const shared = memory.next()
    memory.large = true
    const own = memory.next()
    assert.ok(own !== undefined && own !== shared)
    assert.equal(memory.lends, true)
    assert.equal(memory.next(), undefined)
    memory.large = false
    assert.equal(memory.next(), shared)
    assert.equal(memory.lends, false)
    const other = new ReadMemory()
    other.next()
    other.large = true
    assert.equal(other.next(), own, 'a spare one is used again')
  })

  test('is never read into again once it was given away', () => {
    const memory = new ReadMemory()
    memory.next()
    memory.large = true
    const given = memory.next()
    memory.giveAway()
    assert.equal(memory.lends, false, 'its memory is no longer there to lend')
    assert.notEqual(memory.next(), given)
    memory.giveAway()
    memory.large = false
    memory.next()
    for (let i = 0; i < 20; i++) {
      const other = new ReadMemory()
      other.next()
      other.large = true
      assert.notEqual(other.next(), given)
    }
  })
})
