import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { join, type Revocation, refusedUpTo, revocationOf } from '../store/revocation.ts'
import { Revocations } from '../store/revocations.ts'
import { Revoking } from './revoking.ts'

const NOW = 1_800_000_000_000
const HOUR = NOW + 3_600_000
const SESSIONS = ['s1', 's2', 's3'] as const

/** The main thread of one gateway, and what it tells the others. */
function gateway(capacity?: number) {
  const table = Revocations.create(1_000, NOW)
  const revoking = new Revoking(table, capacity)
  const told: Revocation[] = []
  const forgotten: Revocation[] = []
  revoking.shareWith({
    announce: revocation => told.push(revocation),
    forget: revocations => forgotten.push(...revocations),
  })
  revoking.close()
  /** What threads have said that the main thread has not heard yet. */
  const underWay: (() => void)[] = []
  let isSlow = false
  const say = (revocation: Revocation, at: number): void => {
    underWay.push(() => revoking.note(revocation, at))
    if (!isSlow) hear()
  }
  const hear = () => underWay.shift()?.()
  return {
    table,
    revoking,
    told,
    forgotten,
    /** As a thread does it: in the table first. */
    revoke(kind: 'user' | 'session', id: string, at: number) {
      table.revoke(kind, id, HOUR, at)
      say(revocationOf(kind, id, at, HOUR), at)
    },
    revokeOthers(spared: string, at: number) {
      table.revokeOthers('ana', spared, HOUR, at)
      say({ ...revocationOf('user', 'ana', at, HOUR), spared }, at)
    },
    /** The main thread takes its time for what threads say. */
    beSlow() {
      isSlow = true
    },
    hear,
    catchUp() {
      while (underWay.length > 0) hear()
    },
    refuses: (sessionId: string | null, issuedAt: number) =>
      table.isRevoked({ userId: 'ana', sessionId, issuedAt: issuedAt / 1000 }, NOW + 60_000),
  }
}

type Gateway = ReturnType<typeof gateway>

describe('gateways that tell each other', () => {
  const steps = (...acts: string[]) =>
    fc.array(fc.tuple(fc.nat(2), fc.constantFrom(...acts), fc.nat()), { minLength: 1, maxLength: 20 })

  /** What each has said by then, each a second later than the one before, heard in any order, and more than once. */
  function run(
    acting: readonly (readonly [number, string, number])[],
    gateways: Gateway[] = [gateway(), gateway(), gateway()],
    onStep: () => void = () => {},
  ): { gateways: Gateway[]; together: Revocation | null } {
    const said = () => gateways.flatMap(({ told }) => told)
    for (const [step, [which, act, choice]] of acting.entries()) {
      const at = NOW + step * 1_000
      const { revoke, revokeOthers, revoking, hear } = gateways[which]!
      if (act === 'all') revoke('user', 'ana', at)
      else if (act === 's1' || act === 's2') revokeOthers(act, at)
      else if (act === 'hear thread') hear()
      else if (act === 'hear') {
        const all = said()
        if (all.length > 0) revoking.adopt([all[choice % all.length]!], at)
      } else revoking.restore('user', 'ana', at)
      onStep()
    }
    for (const { catchUp } of gateways) catchUp()
    const all = said()
    for (const { revoking } of gateways) revoking.adopt(all.toReversed(), NOW + 60_000)
    return { gateways, together: all.length === 0 ? null : all.reduce(join) }
  }

  /** Half a second behind each moment at which anything may have been said. */
  const issues = Array.from({ length: 22 }, (_, step) => NOW + step * 1_000 - 500)

  test('all refuse what any has refused, and spare what all have spared', () => {
    fc.assert(
      fc.property(steps('all', 's1', 's2', 'hear', 'hear'), acting => {
        const { gateways, together } = run(acting)
        for (const session of [...SESSIONS, null])
          for (const issuedAt of issues) {
            const expected = together !== null && issuedAt <= refusedUpTo(together, session)
            for (const { refuses } of gateways) assert.equal(refuses(session, issuedAt), expected)
          }
      }),
      { numRuns: 300 },
    )
  })

  test('what is refused stays refused, also while the main thread has not heard of it', () => {
    fc.assert(
      fc.property(steps('all', 's1', 's2', 'hear', 'hear', 'hear thread'), acting => {
        const slow = [gateway(), gateway(), gateway()]
        for (const { beSlow } of slow) beSlow()
        const refused = slow.map(() => new Set<string>())
        const look = (): void => {
          for (const [which, { refuses }] of slow.entries())
            for (const session of [...SESSIONS, null])
              for (const issuedAt of issues) {
                const name = `${session} ${issuedAt}`
                if (refuses(session, issuedAt)) refused[which]!.add(name)
                else assert.ok(!refused[which]!.has(name), name)
              }
        }
        const { together } = run(acting, slow, look)
        look()
        for (const session of [...SESSIONS, null])
          for (const issuedAt of issues) {
            const expected = together !== null && issuedAt <= refusedUpTo(together, session)
            for (const { refuses } of slow) assert.equal(refuses(session, issuedAt), expected)
          }
      }),
      { numRuns: 200 },
    )
  })

  test('all take back what one has taken back, and nothing that was said afterwards', () => {
    fc.assert(
      fc.property(steps('all', 's1', 's2', 'restore', 'hear', 'hear'), acting => {
        const { gateways, together } = run(acting)
        for (const issuedAt of issues) {
          const expected = together !== null && issuedAt <= refusedUpTo(together)
          for (const { refuses } of gateways) {
            assert.equal(refuses(null, issuedAt), expected)
            assert.equal(refuses('s3', issuedAt), expected)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  test('a session, until it is restored', () => {
    const [a, b] = [gateway(), gateway()]
    a.revoke('session', 's1', NOW)
    assert.equal(b.revoking.adopt(a.told, NOW), 0)
    assert.ok(b.refuses('s1', NOW + 30_000))
    assert.equal(b.refuses('s2', NOW - 1), false)
    assert.equal(b.revoking.restore('session', 's1', NOW), true)
    a.revoking.adopt(b.told, NOW)
    assert.equal(a.refuses('s1', NOW - 1), false)
    assert.equal(b.revoking.restore('session', 's1', NOW + 1), false)
    // In the same millisecond, and by a clock that is behind
    a.revoke('session', 's1', NOW - 5_000)
    b.revoking.adopt(a.told, NOW)
    assert.ok(a.refuses('s1', NOW) && b.refuses('s1', NOW))
  })
})

test('what is heard again changes nothing, so that no thread asks about its tokens again', () => {
  const [a, b] = [gateway(), gateway()]
  a.revoke('user', 'ana', NOW)
  a.revokeOthers('s1', NOW + 1_000)
  a.revoke('session', 's2', NOW)
  const own = a.table.version
  a.revoking.adopt(a.told, NOW)
  assert.equal(a.table.version, own)
  assert.equal(own, 3, 'what was noted is not revoked once more')
  b.revoking.adopt(a.told, NOW)
  const { version } = b.table
  b.revoking.adopt(a.told, NOW)
  assert.equal(b.table.version, version)
})

test('what is over goes, and is not taken in', () => {
  const [a, b] = [gateway(), gateway()]
  a.revoke('user', 'ana', NOW)
  assert.equal(b.revoking.adopt(a.told, HOUR), 0)
  assert.equal([...b.revoking.entries()].length, 0)
  a.revoking.prune(HOUR - 1)
  assert.equal(a.forgotten.length, 0)
  a.revoking.prune(HOUR)
  assert.deepEqual(
    a.forgotten.map(({ id }) => id),
    ['ana'],
  )
  assert.equal([...a.revoking.entries()].length, 0)
})

test('without room for a name others are told once, and what others say is counted as lost', () => {
  const full = gateway(1)
  full.revoke('session', 's0', NOW)
  full.revoke('user', 'ana', NOW)
  assert.deepEqual(
    full.told.map(({ id }) => id),
    ['s0', 'ana'],
  )
  assert.ok(full.refuses(null, NOW))
  assert.equal(full.revoking.adopt([revocationOf('user', 'ben', NOW, HOUR)], NOW), 1)
  full.revoking.prune(HOUR)
  assert.equal(full.revoking.adopt([revocationOf('user', 'ben', HOUR, HOUR + 1)], HOUR), 0)
})
