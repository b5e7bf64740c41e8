import assert from 'node:assert/strict'
import { test } from 'node:test'
import { identityOf } from '../../test/support/exchange.ts'
import type { Revocation } from '../store/revocation.ts'
import { Revocations } from '../store/revocations.ts'
import { signOutFrom } from './sign-out.ts'

const LEEWAY = 30
const fail = (): never => assert.fail('no room')
const now = (): number => Math.floor(Date.now() / 1000)

for (const scope of ['local', 'global'] as const) {
  test(`a ${scope} sign-out lasts until no token of before can be good, and no longer`, () => {
    const revocations = Revocations.create(100)
    const issuedAt = now() - 60
    const identity = identityOf({ sessionId: 's1', issuedAt, expiresAt: issuedAt + 3_600 })
    signOutFrom(revocations, LEEWAY, fail)(identity, scope)
    // Another token of the session may have been issued just before.
    const last = now() + 3_600 + LEEWAY
    assert.equal(revocations.isRevoked(identity, last * 1000), true)
    assert.equal(revocations.isRevoked(identity, (last + 5) * 1000), false)
  })
}

test('a sign-out with a token that does not say when it was issued lasts for a day', () => {
  const revocations = Revocations.create(100)
  const identity = identityOf({ issuedAt: 0, expiresAt: now() + 60 })
  signOutFrom(revocations, LEEWAY, fail)(identity, 'global')
  assert.equal(revocations.isRevoked(identity, (now() + 86_400) * 1000), true)
})

test('a sign-out of others spares the session, and lasts as long', () => {
  const revocations = Revocations.create(100)
  const here = identityOf({ sessionId: 's1', issuedAt: now() - 60, expiresAt: now() + 3_540 })
  const there = { ...here, sessionId: 's2' }
  signOutFrom(revocations, LEEWAY, fail)(here, 'others')
  const last = (now() + 3_600 + LEEWAY) * 1000
  assert.equal(revocations.isRevoked(here, last), false)
  assert.equal(revocations.isRevoked(there, last), true)
})

test('what is revoked is told to other gateways, as it is known here', () => {
  const revocations = Revocations.create(100)
  const told: Revocation[] = []
  const signOut = signOutFrom(revocations, LEEWAY, fail, revocation => told.push(revocation))
  const ahead = now() + 20
  const identity = identityOf({ sessionId: 's1', issuedAt: ahead + 0.5, expiresAt: ahead + 3_600 })
  for (const scope of ['local', 'others', 'global'] as const) signOut(identity, scope)
  assert.deepEqual(
    told.map(({ kind, id, spared }) => [kind, id, spared]),
    [
      ['session', 's1', null],
      ['user', 'u1', 's1'],
      ['user', 'u1', null],
    ],
  )
  assert.deepEqual(
    told.slice(1).map(({ upTo }) => upTo),
    [ahead * 1000 + 500, ahead * 1000 + 500],
  )
  const last = (ahead + 3_600 + LEEWAY) * 1000
  assert.ok(told.every(({ upTo, until }) => until >= last && [upTo, until].every(Number.isSafeInteger)))
})

test('a session whose name cannot be told stands for all that its user has', () => {
  for (const sessionId of ['a\ud800', 'a'.repeat(257)]) {
    const revocations = Revocations.create(100)
    const told: Revocation[] = []
    const identity = identityOf({ sessionId, issuedAt: now() - 60 })
    signOutFrom(revocations, LEEWAY, fail, revocation => told.push(revocation))(identity, 'local')
    assert.equal(revocations.isRevoked({ ...identity, sessionId: 'another' }, Date.now()), true)
    assert.deepEqual([told[0]!.kind, told[0]!.id], ['user', 'u1'])
  }
})

test('what could not be revoked is told', () => {
  const revocations = Revocations.create(1)
  const full = (): boolean =>
    !revocations.revoke('session', `s${Math.random()}`, Date.now() + 1e6, Date.now())
  while (!full());
  let told = 0
  const signOut = signOutFrom(revocations, LEEWAY, () => told++)
  for (const scope of ['local', 'others', 'global'] as const) signOut(identityOf({ sessionId: 'new' }), scope)
  assert.equal(told, 3)
})
