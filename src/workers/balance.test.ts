import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Shedding, shouldShed, surplus } from './balance.ts'

describe('what a worker may keep', () => {
  for (const [own, all, expected] of [
    [4, [4, 4], 0],
    [5, [5, 3], 0],
    [6, [6, 2], 1],
    [3, [3, 2, 2, 1], 0],
    [4, [4, 2, 1, 1], 1],
    [1, [1, 0], 0],
    [16, [16, 0], 7],
    [2, [2, 6], 0],
    [530, [530, 470], 0],
    [1_000, [1_000, 0], 438],
  ] as const) {
    test(`${own} of ${all.join(' + ')}: ${expected} too many`, () => {
      assert.equal(surplus(own, all), expected)
      assert.equal(shouldShed(own, all), expected > 0)
    })
  }

  test('the only worker keeps all', () => assert.equal(shouldShed(1_000, [1_000]), false))
})

describe('the pace', () => {
  const shedsIn = (shedding: Shedding, most = 100): number => {
    let shed = 0
    while (shed < most && shedding.take(0, () => 10_000)) shed++
    return shed
  }

  test('nothing for a second, then some, never more than ten in a tick', () => {
    const shedding = new Shedding()
    for (let tick = 0; tick < 10; tick++) {
      shedding.tick(1_000, [1_000, 0])
      assert.equal(shedsIn(shedding), 0)
    }
    shedding.tick(1_000, [1_000, 0])
    assert.equal(shedsIn(shedding), 10)
  })

  test('nobody who came a moment ago, and no slower for that', () => {
    const shedding = new Shedding()
    for (let tick = 0; tick < 100; tick++) {
      shedding.tick(50, [50, 0])
      assert.equal(
        shedding.take(6_000, () => 10_000),
        false,
      )
    }
    shedding.tick(50, [50, 0])
    assert.equal(
      shedding.take(5_000, () => 10_000),
      true,
    )
  })

  test('ever slower while it changes nothing', () => {
    const shedding = new Shedding()
    const shed = Array.from({ length: 1_000 }, () => {
      shedding.tick(50, [50, 0])
      return shedsIn(shedding)
    })
    const [first, second] = [shed.slice(0, 500), shed.slice(500)].map(
      half => half.filter(each => each > 0).length,
    )
    assert.ok(first! > 0 && first! < 20, `${first}`)
    assert.ok(second! < first!)
  })

  for (const [workers, connections] of [
    [2, 8],
    [4, 8],
    [2, 64],
    [4, 64],
    [4, 1_000],
  ] as const) {
    test(`${connections} connections that all came to one of ${workers} settle, and stay`, () => {
      // Where a client comes back is drawn as the kernel would: evenly, from a fixed series
      let seed = 42
      const draw = (): number => {
        seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
        return Math.floor((seed / 2 ** 31) * workers)
      }
      const counts = Array.from({ length: workers }, (_, id) => (id === 0 ? connections : 0))
      const sheddings = counts.map(() => new Shedding())
      let lastMove = 0
      for (let tick = 0; tick < 3_000; tick++) {
        const seen = [...counts]
        for (const [id, shedding] of sheddings.entries()) {
          shedding.tick(seen[id]!, seen)
          for (let shed = shedsIn(shedding, counts[id]!); shed > 0; shed--) {
            counts[id]!--
            counts[draw()]!++
            lastMove = tick
          }
        }
      }
      assert.ok(
        counts.every((own, _, all) => surplus(own, all) === 0),
        counts.join(),
      )
      assert.ok(lastMove < 1_500, `the last one moved in tick ${lastMove}`)
    })
  }
})
