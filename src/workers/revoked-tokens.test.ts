import assert from 'node:assert/strict'
import { test } from 'node:test'
import { identityOf } from '../../test/support/exchange.ts'
import { Revocations } from '../store/revocations.ts'
import { revokedTokens } from './revoked-tokens.ts'

test('a token that passed is refused from the moment at which it is revoked, and passes when that is over', t => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const revocations = Revocations.create(100)
  const asked = revokedTokens(Revocations.attach(revocations.buffers))
  const identity = identityOf({ sessionId: 's1', issuedAt: Date.now() / 1000 - 60 })
  const ask = () => [asked.isRevoked(identity), asked.isRevoked(identity)]
  const hour = Date.now() + 3_600_000

  assert.deepEqual(ask(), [false, false])
  revocations.revoke('session', 'another', hour, Date.now())
  assert.deepEqual(ask(), [false, false])
  revocations.revoke('user', 'u1', hour, Date.now())
  assert.deepEqual(ask(), [true, true])
  revocations.restore('user', 'u1', Date.now())
  assert.deepEqual(ask(), [false, false])
  revocations.revokeOthers('u1', 's1', hour, Date.now())
  assert.deepEqual(ask(), [false, false])
  revocations.revoke('session', 's1', hour, Date.now())
  assert.deepEqual(ask(), [true, true])
  assert.equal(asked.version, revocations.version)
  t.mock.timers.setTime(hour + 1_000)
  assert.deepEqual(ask(), [false, false])
})
