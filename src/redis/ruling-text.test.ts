import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BLOCK_KINDS, keyOf, type Ruling } from '../store/block.ts'
import { readRuling, writeRuling } from './ruling-text.ts'

const read = (ruling: Ruling) => readRuling(keyOf(ruling), writeRuling(ruling))

test('what was written is read, whatever the name and the reason', () => {
  const kinds = fc.constantFrom(...BLOCK_KINDS.filter(kind => kind !== 'ip'))
  const ids = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 })
  const reasons = fc.option(fc.string({ unit: 'grapheme' }))
  const ends = fc.oneof(fc.integer({ min: 1, max: 2 ** 50 }), fc.constant(Number.POSITIVE_INFINITY))
  fc.assert(
    fc.property(kinds, ids, reasons, ends, fc.nat(), (kind, id, reason, until, at) => {
      const blocked: Ruling = { kind, id, at, block: { kind, id, reason, since: at, until } }
      assert.deepEqual(read(blocked), blocked)
      const unblocked: Ruling = { kind, id, at, block: null }
      assert.deepEqual(read(unblocked), unblocked)
    }),
  )
})

test('what no gateway has written is none', () => {
  const good = '5 {"reason":null,"until":null}'
  assert.notEqual(readRuling('user:a', good), null)
  assert.notEqual(readRuling('ip:2001:db8::/32', good), null)
  for (const [name, text] of [
    ['user:', good],
    ['user', good],
    ['__proto__:a', good],
    ['toString:a', good],
    [`user:${'a'.repeat(257)}`, good],
    ['ip:2001:DB8::/32', good],
    ['ip:nonsense', good],
    ['user:a', ''],
    ['user:a', '5'],
    ['user:a', '-5 null'],
    ['user:a', '1e3 null'],
    ['user:a', '9999999999999999 null'],
    ['user:a', '5 {'],
    ['user:a', '5 7'],
    ['user:a', '5 {"reason":5,"until":null}'],
    ['user:a', '5 {"reason":null,"until":"soon"}'],
    ['user:a', '5 {}'],
  ] as const) {
    assert.equal(readRuling(name, text), null, `${name} ${text}`)
  }
})
