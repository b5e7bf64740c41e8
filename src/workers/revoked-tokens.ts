/** The shared revocations as a verifier of tokens asks about them, for every request. */

import type { Identity } from '../identity/identity.ts'
import type { Revocations as AskedRevocations } from '../identity/verify.ts'
import type { Revocations } from '../store/revocations.ts'

/**
 * Remembers of each token under which version nothing was against it: a look into the table costs three hashed names,
 * 1 µs, and where people sign out it is never empty for long.
 */
export function revokedTokens(revocations: Revocations): AskedRevocations {
  const passed = new WeakMap<Identity, number>()
  return {
    get version() {
      return revocations.version
    },
    isRevoked(identity) {
      // Before the look: what is revoked meanwhile has a version of its own.
      const { version } = revocations
      if (version === 0 || passed.get(identity) === version) return false
      const revoked = revocations.isRevoked(identity, Date.now())
      if (!revoked) passed.set(identity, version)
      return revoked
    },
  }
}
