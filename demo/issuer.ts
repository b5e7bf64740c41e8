import { randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { metadataOf } from './accounts.ts'
import type { Session } from './sessions.ts'

export const tokenLifetime = 60 * 60
const serviceRole = 'service_role'

export interface Issuer {
  /** The public keys, as served at `/.well-known/jwks.json`. */
  jwks: { keys: JWK[] }
  /**
   * `changes` stand in the place of the claims that they name, and `undefined` leaves a claim out: for tokens
   * that show what is refused.
   */
  issue(
    session: Session,
    changes?: Readonly<Record<string, unknown>>,
  ): Promise<{ token: string; expiresAt: number }>
  /** Throws jose's error when the token is not one of ours or no longer good. */
  verify(token: string): Promise<JWTPayload>
  /** A key for servers, which opens the admin endpoints: no user, and far away its end. */
  serviceKey(): Promise<string>
  /** Whether a token is such a key. */
  isServiceKey(token: string): Promise<boolean>
}

/**
 * Signs access tokens with a key pair that lives as long as this process. `issuerUrl` goes into `iss`; it is
 * asked for with each token, since the port is known only once the service listens.
 */
export async function createIssuer(issuerUrl: () => string): Promise<Issuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const kid = randomUUID()
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig', key_ops: ['verify'] }

  return {
    jwks: { keys: [jwk] },

    async issue(session, changes = {}) {
      const { account } = session
      const now = Math.floor(Date.now() / 1_000)
      const expiresAt = now + tokenLifetime
      const claims = {
        iss: issuerUrl(),
        sub: account.id,
        aud: 'authenticated',
        iat: now,
        exp: expiresAt,
        email: account.email,
        phone: '',
        ...metadataOf(account),
        role: 'authenticated',
        aal: 'aal1',
        amr: [{ method: session.method, timestamp: Math.floor(session.startedAt.getTime() / 1_000) }],
        session_id: session.id,
        is_anonymous: false,
        ...changes,
      }
      const token = await new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', kid, typ: 'JWT' })
        .sign(privateKey)
      return { token, expiresAt }
    },

    async verify(token) {
      const { payload } = await jwtVerify(token, publicKey, {
        algorithms: ['ES256'],
        issuer: issuerUrl(),
        audience: 'authenticated',
      })
      return payload
    },

    serviceKey() {
      return new SignJWT({ iss: issuerUrl(), role: serviceRole })
        .setProtectedHeader({ alg: 'ES256', kid, typ: 'JWT' })
        .setIssuedAt()
        .setExpirationTime('10 years')
        .sign(privateKey)
    },

    async isServiceKey(token) {
      const verified = jwtVerify(token, publicKey, { algorithms: ['ES256'], issuer: issuerUrl() })
      return verified.then(({ payload }) => payload.role === serviceRole).catch(() => false)
    },
  }
}
