import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { newRequestId } from './request-id.ts'

describe('an identifier of a request', () => {
  test('is a UUID of version 7 with the time in front', () => {
    const before = Date.now()
    const id = newRequestId()
    const after = Date.now()
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    const time = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
    assert.ok(time >= before && time <= after)
  })

  test('is never given twice, and every digit behind the time is chance', () => {
    const count = 20_000
    const ids = Array.from({ length: count }, newRequestId)
    assert.equal(new Set(ids).size, count)
    for (let place = 15; place < 36; place++) {
      if (place === 18 || place === 23) continue
      const tally = new Map<string, number>()
      for (const id of ids) tally.set(id[place]!, (tally.get(id[place]!) ?? 0) + 1)
      const digits = place === 19 ? 4 : 16
      assert.equal(tally.size, digits, `digit ${place}`)
      // Ten standard deviations
      const expected = count / digits
      for (const [digit, found] of tally)
        assert.ok(Math.abs(found - expected) < 10 * Math.sqrt(expected), `${digit} at ${place}: ${found}`)
    }
  })
})
