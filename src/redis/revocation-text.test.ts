import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { keyOf } from '../store/block.ts'
import { type Revocation, revocationOf } from '../store/revocation.ts'
import { readRevocation, writeRevocation } from './revocation-text.ts'

test('what was written is read, whatever the names', () => {
  const kinds = fc.constantFrom('user', 'session')
  const ids = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 50 })
  const moments = fc.integer({ min: 1, max: 2 ** 50 })
  fc.assert(
    fc.property(kinds, ids, ids, moments, moments, moments, (kind, id, other, upTo, restored, until) => {
      const all = { ...revocationOf(kind, id, upTo, until), restored }
      const others: Revocation = { ...all, kind: 'user', spared: other, floor: upTo - 1 }
      for (const each of [all, others])
        assert.deepEqual(readRevocation(keyOf(each), writeRevocation(each)), each)
    }),
  )
})

test('what no gateway has written is none', () => {
  const good = '{"upTo":5,"restored":0,"until":9}'
  assert.notEqual(readRevocation('user:a', good), null)
  for (const [name, text] of [
    ['user:', good],
    ['user', good],
    ['company:a', good],
    ['toString:a', good],
    [`user:${'a'.repeat(257)}`, good],
    ['user:a', ''],
    ['user:a', '{'],
    ['user:a', '7'],
    ['user:a', 'null'],
    ['user:a', '{"upTo":5,"restored":0}'],
    ['user:a', '{"upTo":-5,"restored":0,"until":9}'],
    ['user:a', '{"upTo":5.5,"restored":0,"until":9}'],
    ['user:a', '{"upTo":1e300,"restored":0,"until":9}'],
    ['user:a', '{"upTo":"5","restored":0,"until":9}'],
    ['user:a', '{"upTo":5,"restored":0,"until":9,"spared":5}'],
    ['user:a', '{"upTo":5,"restored":0,"until":9,"spared":""}'],
    ['user:a', '{"upTo":5,"restored":0,"until":9,"spared":"s","floor":5}'],
    ['session:a', '{"upTo":5,"restored":0,"until":9,"spared":"s","floor":1}'],
  ] as const) {
    assert.equal(readRevocation(name, text), null, `${name} ${text}`)
  }
})
