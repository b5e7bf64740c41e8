import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { RememberedBytes } from './remembered-bytes.ts'

/** More than any that are kept. */
const TOO_MANY = 100_000

const bytes = fc
  .array(fc.constantFrom(0, 10, 13, 65, 97, 255), { maxLength: 40 })
  .map(codes => Buffer.from(codes))

describe('remembered bytes', () => {
  test('stand where the same ones are, wholly within what has arrived, and nowhere else', () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, bytes, fc.nat(100), (kept, before, here, after, cut) => {
        const remembered = new RememberedBytes()
        assert.equal(remembered.keep(kept, 0, kept.length), kept.length > 0)
        const all = Buffer.concat([before, here, after])
        const end = Math.max(before.length, all.length - cut)
        const expected =
          kept.length > 0 && all.subarray(before.length, end).subarray(0, kept.length).equals(kept)
        assert.equal(remembered.standAt(all, before.length, end), expected)
        const same = Buffer.concat([before, kept, after])
        assert.equal(remembered.standAt(same, before.length, same.length), kept.length > 0)
        assert.equal(remembered.standAt(same, before.length, before.length + kept.length), kept.length > 0)
        // The last byte is in the buffer, left over from another read, and has not arrived
        assert.equal(remembered.standAt(same, before.length, before.length + kept.length - 1), false)
      }),
    )
  })

  test('are not found once a single bit of them is another', () => {
    const kept = Buffer.from('Host: a\r\nAuthorization: Bearer x.y.z\r\n\r\n')
    const remembered = new RememberedBytes()
    remembered.keep(kept, 0, kept.length)
    for (let at = 0; at < kept.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const other = Buffer.from(kept)
        other[at]! ^= 1 << bit
        assert.equal(remembered.standAt(other, 0, other.length), false, `bit ${bit} of byte ${at}`)
      }
    }
    assert.equal(remembered.standAt(kept, 0, kept.length), true)
  })

  test('are a copy: the buffer they came in may be used again', () => {
    const buffer = Buffer.from('--Host: a--')
    const remembered = new RememberedBytes()
    remembered.keep(buffer, 2, 9)
    buffer.fill('x')
    assert.equal(remembered.standAt(Buffer.from('Host: a'), 0, 7), true)
    assert.equal(remembered.standAt(buffer, 2, 9), false)
    assert.equal(remembered.length, 7)
  })

  test('give way to those that are kept after them, shorter or longer, and to too many of them', () => {
    const remembered = new RememberedBytes()
    const kept = fc.oneof(
      bytes,
      fc.constantFrom(4_096, 4_097, TOO_MANY).map(length => Buffer.alloc(length, 'x')),
    )
    fc.assert(
      fc.property(fc.array(kept, { minLength: 1, maxLength: 8 }), all => {
        for (const each of all) {
          const isKept = remembered.keep(each, 0, each.length)
          assert.equal(isKept, each.length > 0 && each.length <= 4_096)
          for (const other of all) {
            const stands = isKept && other.subarray(0, each.length).equals(each)
            assert.equal(remembered.standAt(other, 0, other.length), stands)
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  test('that were forgotten stand nowhere, until others are kept', () => {
    const remembered = new RememberedBytes()
    const kept = Buffer.from('Host: a')
    remembered.keep(kept, 0, kept.length)
    remembered.forget()
    assert.equal(remembered.standAt(kept, 0, kept.length), false)
    assert.equal(remembered.length, 0)
    assert.equal(remembered.keep(kept, 0, kept.length), true)
    assert.equal(remembered.standAt(kept, 0, kept.length), true)
  })

  test('are none at first', () => {
    const remembered = new RememberedBytes()
    assert.equal(remembered.standAt(Buffer.alloc(0), 0, 0), false)
    assert.equal(remembered.standAt(Buffer.from('a'), 0, 1), false)
  })
})
