/** What a sign-out does to tokens that are out: every thread refuses them from now on. */

import type { SignOut } from '../policies/auth-service.ts'
import type { Revocations } from '../store/revocations.ts'

/** How long a token is assumed to live that does not say when it was issued. */
const DAY = 86_400

/**
 * @param leeway seconds by which clocks may differ
 * @param onNoRoom nothing was revoked: the tokens are good until they expire
 */
export function signOutFrom(revocations: Revocations, leeway: number, onNoRoom: () => void): SignOut {
  return function signOut({ userId, sessionId, issuedAt, expiresAt }, scope) {
    const now = Date.now()
    // The issuer's clock may be ahead of ours.
    const upTo = Math.max(now, issuedAt * 1000)
    const lifetime = issuedAt > 0 ? expiresAt - issuedAt : Math.max(DAY, expiresAt - now / 1000)
    const until = upTo + (lifetime + leeway) * 1000
    // Without a name a session cannot be told from the user's others: they all have to get new tokens.
    const isUsers = sessionId === null || scope === 'global'
    const revoked = isUsers
      ? revocations.revoke('user', userId, until, now, upTo)
      : scope === 'others'
        ? revocations.revokeOthers(userId, sessionId, until, now, upTo)
        : revocations.revoke('session', sessionId, until, now)
    if (!revoked) onNoRoom()
  }
}
