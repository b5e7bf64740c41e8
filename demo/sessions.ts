import { randomBytes, randomUUID } from 'node:crypto'
import type { Account } from './accounts.ts'

export interface Session {
  id: string
  account: Account
  startedAt: Date
  /** How the user proved who it is, as `amr` of the token says it. */
  method: SignInMethod
  refreshToken: string
}

export type SignInMethod = 'password' | 'oauth' | 'otp'

export type Refreshed = { kind: 'refreshed'; session: Session } | { kind: 'unknown' } | { kind: 'reused' }

const mostSessions = 10_000
const mostRefreshTokens = 50_000

/** Who is signed in. Each refresh token works once; one that comes back ends its session, for it was stolen. */
export class Sessions {
  readonly #sessions = new Map<string, Session>()
  /** Spent tokens stay, or a stolen one could not be told from an invented one. */
  readonly #byRefreshToken = new Map<string, Session>()

  start(account: Account, method: SignInMethod): Session {
    const session = { id: randomUUID(), account, startedAt: new Date(), method, refreshToken: '' }
    keepNewest(this.#sessions, session.id, session, mostSessions)
    this.#renew(session)
    return session
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(id)
  }

  refresh(token: string): Refreshed {
    const session = this.#byRefreshToken.get(token)
    if (session === undefined || !this.#sessions.has(session.id)) return { kind: 'unknown' }
    if (session.refreshToken !== token) {
      this.#sessions.delete(session.id)
      return { kind: 'reused' }
    }
    this.#renew(session)
    return { kind: 'refreshed', session }
  }

  /** Ends this session (`local`), the user's other ones (`others`) or all of them (`global`). */
  end(session: Session, scope: 'local' | 'others' | 'global'): void {
    if (scope === 'local') {
      this.#sessions.delete(session.id)
      return
    }
    for (const { id, account } of this.#sessions.values()) {
      if (account.id !== session.account.id) continue
      if (scope === 'others' && id === session.id) continue
      this.#sessions.delete(id)
    }
  }

  #renew(session: Session): void {
    session.refreshToken = randomBytes(16).toString('base64url')
    keepNewest(this.#byRefreshToken, session.refreshToken, session, mostRefreshTokens)
  }
}

function keepNewest<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.set(key, value)
  if (map.size <= most) return
  const oldest = map.keys().next()
  if (!oldest.done) map.delete(oldest.value)
}
