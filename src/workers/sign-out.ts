/** What a sign-out does to tokens that are out: every thread refuses them from now on. */

import type { SignOut } from '../policies/auth-service.ts'
import { isTellable, type Revocation, revocationOf } from '../store/revocation.ts'
import type { Revocations } from '../store/revocations.ts'

/** How long a token is assumed to live that does not say when it was issued. */
const DAY = 86_400

/**
 * @param leeway seconds by which clocks may differ
 * @param onNoRoom nothing was revoked: the tokens are good until they expire
 * @param onRevoked told what was revoked, for other gateways
 */
export function signOutFrom(
  revocations: Revocations,
  leeway: number,
  onNoRoom: () => void,
  onRevoked?: (revocation: Revocation) => void,
): SignOut {
  return function signOut({ userId, sessionId, issuedAt, expiresAt }, scope) {
    const now = Date.now()
    // The issuer's clock may be ahead of ours.
    const upTo = Math.max(now, Math.ceil(issuedAt * 1000))
    const lifetime = issuedAt > 0 ? expiresAt - issuedAt : Math.max(DAY, expiresAt - now / 1000)
    const until = Math.min(Math.ceil(upTo + (lifetime + leeway) * 1000), Number.MAX_SAFE_INTEGER)
    // Without a name a session cannot be told from the user's others: they all have to get new tokens.
    const isUsers = sessionId === null || !isTellable(sessionId) || scope === 'global'
    const revoked = isUsers
      ? revocations.revoke('user', userId, until, now, upTo)
      : scope === 'others'
        ? revocations.revokeOthers(userId, sessionId, until, now, upTo)
        : revocations.revoke('session', sessionId, until, now)
    if (!revoked) onNoRoom()
    if (onRevoked === undefined) return
    if (isUsers) onRevoked(revocationOf('user', userId, upTo, until))
    else if (scope === 'local') onRevoked(revocationOf('session', sessionId, now, until))
    else onRevoked({ ...revocationOf('user', userId, upTo, until), spared: sessionId })
  }
}
