import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Revocations } from './revocations.ts'

const NOW = 1_800_000_000_000
const HOUR = NOW + 3_600_000
const ISSUED = NOW / 1000 - 60

const create = (capacity = 100): Revocations => Revocations.create(capacity, NOW)

/** Whether a token is refused. */
function refused(
  revocations: Revocations,
  sessionId: string | null,
  userId: string,
  issuedAt: number | null,
  now: number,
): boolean {
  return revocations.isRevoked({ sessionId, userId, issuedAt }, now)
}

describe('a session that was revoked', () => {
  test('has all its tokens refused, those issued later as well, until the moment named', () => {
    const revocations = create()
    assert.equal(revocations.revoke('session', 's1', HOUR, NOW), true)
    assert.equal(refused(revocations, 's1', 'u1', ISSUED, NOW), true)
    assert.equal(refused(revocations, 's1', 'u1', ISSUED + 600, NOW + 600_000), true)
    assert.equal(refused(revocations, 's1', 'u1', ISSUED, HOUR - 1), true)
    assert.equal(refused(revocations, 's1', 'u1', ISSUED, HOUR), false)
  })

  test('leaves the user’s other sessions alone, and a user of the same id', () => {
    const revocations = create()
    revocations.revoke('session', 's1', HOUR, NOW)
    assert.equal(refused(revocations, 's2', 'u1', ISSUED, NOW), false)
    assert.equal(refused(revocations, null, 's1', ISSUED, NOW), false)
  })
})

describe('a user who was revoked', () => {
  test('has tokens refused that were issued up to then, and later ones pass', () => {
    const revocations = create()
    revocations.revoke('user', 'u1', HOUR, NOW)
    assert.equal(refused(revocations, 's1', 'u1', NOW / 1000 - 1, NOW), true)
    assert.equal(refused(revocations, null, 'u1', NOW / 1000, NOW), true)
    assert.equal(refused(revocations, 's2', 'u1', NOW / 1000 + 1, NOW + 1_000), false)
    assert.equal(refused(revocations, 's2', 'u2', ISSUED, NOW), false)
  })

  test('cannot pass with a token that does not say when it was issued', () => {
    const revocations = create()
    revocations.revoke('user', 'u1', HOUR, NOW)
    assert.equal(refused(revocations, null, 'u1', null, NOW), true)
    assert.equal(refused(revocations, null, 'u1', Number.NaN, NOW), true)
  })

  test('is blocked altogether when no moment of issue is late enough', () => {
    const revocations = create()
    const forever = Number.POSITIVE_INFINITY
    revocations.revoke('user', 'u1', forever, NOW, forever)
    const nextYear = NOW + 365 * 86_400_000
    assert.equal(refused(revocations, null, 'u1', nextYear / 1000, nextYear), true)
  })

  test('stays refused up to the latest moment of two revocations, for the longer time', () => {
    const revocations = create()
    revocations.revoke('user', 'u1', HOUR, NOW + 5_000)
    revocations.revoke('user', 'u1', NOW + 60_000, NOW)
    assert.equal(refused(revocations, null, 'u1', NOW / 1000 + 4, HOUR - 1), true)
  })

  test('passes again once restored', () => {
    const revocations = create()
    revocations.revoke('user', 'u1', HOUR, NOW)
    assert.equal(revocations.restore('user', 'u1', NOW), true)
    assert.equal(revocations.restore('user', 'u1', NOW), false)
    assert.equal(refused(revocations, null, 'u1', ISSUED, NOW), false)
  })
})

describe('a session that was spared', () => {
  const spared = (revocations: Revocations): boolean => refused(revocations, 's1', 'u1', ISSUED, NOW + 2_000)

  test('passes while the user’s other sessions do not', () => {
    const revocations = create()
    assert.equal(revocations.revokeOthers('u1', 's1', HOUR, NOW), true)
    assert.equal(spared(revocations), false)
    assert.equal(refused(revocations, 's2', 'u1', ISSUED, NOW), true)
    assert.equal(refused(revocations, null, 'u1', ISSUED, NOW), true)
    assert.equal(refused(revocations, 's2', 'u1', NOW / 1000 + 1, NOW + 1_000), false)
    assert.equal(refused(revocations, 's2', 'u2', ISSUED, NOW), false)
  })

  test('is refused when it is revoked itself', () => {
    const revocations = create()
    revocations.revokeOthers('u1', 's1', HOUR, NOW)
    revocations.revoke('session', 's1', HOUR, NOW)
    assert.equal(spared(revocations), true)
  })

  for (const [when, at] of [
    ['later', NOW + 1_000],
    ['in the same millisecond', NOW],
    ['by a thread whose clock is behind', NOW - 1_000],
  ] as const) {
    test(`is refused when the user is revoked ${when}`, () => {
      const revocations = create()
      revocations.revokeOthers('u1', 's1', HOUR, NOW)
      revocations.revoke('user', 'u1', HOUR, at)
      assert.equal(spared(revocations), true)
    })
  }

  test('gives way to the session that is spared after it', () => {
    const revocations = create()
    const since = NOW / 1000 - 10
    revocations.revokeOthers('u1', 's1', HOUR, NOW - 30_000)
    revocations.revokeOthers('u1', 's2', HOUR, NOW)
    assert.equal(refused(revocations, 's2', 'u1', since, NOW), false)
    assert.equal(refused(revocations, 's1', 'u1', since, NOW), true)
    assert.equal(refused(revocations, 's3', 'u1', since, NOW), true)
  })

  test('may be spared again, with tokens of before as well', () => {
    const revocations = create()
    revocations.revokeOthers('u1', 's1', HOUR, NOW)
    revocations.revokeOthers('u1', 's1', HOUR, NOW + 1_000)
    assert.equal(spared(revocations), false)
    assert.equal(refused(revocations, 's2', 'u1', NOW / 1000 + 1, NOW + 2_000), true)
    revocations.revokeOthers('u1', 's2', HOUR, NOW + 1_000)
    revocations.revokeOthers('u1', 's1', HOUR, NOW + 1_000)
    assert.equal(spared(revocations), true)
  })

  test('is not forgiven what was revoked before', () => {
    const revocations = create()
    revocations.revoke('user', 'u1', HOUR, NOW - 30_000)
    revocations.revokeOthers('u1', 's1', HOUR, NOW)
    assert.equal(refused(revocations, 's1', 'u1', ISSUED, NOW), true)
    assert.equal(refused(revocations, 's1', 'u1', NOW / 1000 - 10, NOW), false)
    revocations.revoke('session', 's2', HOUR, NOW)
    revocations.revokeOthers('u1', 's2', HOUR, NOW)
    assert.equal(refused(revocations, 's2', 'u1', ISSUED, NOW), true)
  })

  test('does not lift the block of a user', () => {
    const revocations = create()
    const forever = Number.POSITIVE_INFINITY
    revocations.revoke('user', 'u1', forever, NOW, forever)
    revocations.revokeOthers('u1', 's1', HOUR, NOW)
    assert.equal(spared(revocations), true)
  })
})

describe('the table of revocations', () => {
  test('is seen by whoever attached to it, and tells of changes', () => {
    const revocations = create()
    const other = Revocations.attach(revocations.buffers)
    const before = other.version
    revocations.revoke('session', 's1', HOUR, NOW)
    assert.notEqual(other.version, before)
    assert.equal(refused(other, 's1', 'u1', ISSUED, NOW), true)
    const revoked = other.version
    other.restore('session', 's1', NOW)
    assert.notEqual(revocations.version, revoked)
    assert.equal(refused(revocations, 's1', 'u1', ISSUED, NOW), false)
  })

  test('says so when it has no room, and revokes again when others have expired', () => {
    const revocations = create(1)
    let revoked = 0
    while (revocations.revoke('session', `s${revoked}`, HOUR, NOW)) revoked++
    assert.equal(revoked, 30)
    assert.equal(refused(revocations, `s${revoked}`, 'u1', ISSUED, NOW), false)
    for (let session = 0; session < revoked; session++)
      assert.equal(refused(revocations, `s${session}`, 'u1', ISSUED, NOW), true)
    assert.equal(revocations.revokeOthers('u1', 'spared', HOUR, NOW), false)
    assert.equal(refused(revocations, 'other', 'u1', ISSUED, NOW), false)
    assert.equal(revocations.revoke('session', 'late', HOUR + 1_000, HOUR), true)
    assert.equal(refused(revocations, 'late', 'u1', ISSUED, HOUR), true)
  })

  test('does not claim to have revoked until a moment that is none', () => {
    const revocations = create()
    assert.equal(revocations.revoke('session', 's1', Number.NaN, NOW), false)
    assert.equal(revocations.revoke('user', 'u1', HOUR, NOW, Number.NaN), false)
    assert.equal(revocations.revokeOthers('u1', 's1', Number.NaN, NOW), false)
    assert.equal(revocations.revokeOthers('u1', 's1', HOUR, NOW, Number.NaN), false)
    assert.equal(refused(revocations, 's2', 'u1', ISSUED, NOW), false)
  })

  test('refuses to attach to something else', () => {
    const { state, entries } = create().buffers
    assert.throws(() => Revocations.attach({ state: entries, entries }), /not a buffer of revocations/)
    assert.throws(() => Revocations.attach({ state, entries: state }), /not a buffer of shared counters/)
  })
})
