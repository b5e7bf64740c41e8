import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { HeldBytes } from './body.ts'

describe('bytes that wait for a sink', () => {
  test('come out as they went in, in one piece', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 60 }), pieces => {
        const held = new HeldBytes()
        for (const piece of pieces) {
          const padded = Buffer.from([1, 2, ...piece, 3])
          held.append(padded, 2, 2 + piece.length)
          padded.fill(0)
        }
        assert.deepEqual(held.take() ?? Buffer.alloc(0), Buffer.concat(pieces))
        assert.equal(held.take(), null)
      }),
    )
  })

  test('take about as much memory as there are of them, however small the pieces', () => {
    const held = new HeldBytes()
    const piece = Buffer.from('x')
    for (let i = 0; i < 60_000; i++) held.append(piece, 0, 1)
    const taken = held.take()!
    assert.equal(taken.length, 60_000)
    assert.ok(taken.buffer.byteLength <= 3 * 60_000)
  })
})
