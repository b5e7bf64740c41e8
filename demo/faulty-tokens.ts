import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { type Account, accounts } from './accounts.ts'
import type { Issuer } from './issuer.ts'

export type FaultyTokens = Awaited<ReturnType<typeof faultyTokens>>

/** Ana's token with one thing wrong in each. All but `forged` are signed with the key that the gateway trusts. */
export async function faultyTokens(issuer: Issuer) {
  const ana = accounts.find(({ email }) => email === 'ana@acme.example')!
  const now = Math.floor(Date.now() / 1_000)
  const hour = 60 * 60
  const token = (changes: Record<string, unknown>) => signed(issuer, ana, changes)

  return {
    forged: forged(await token({})),
    expired: await token({ iat: now - 2 * hour, exp: now - hour }),
    otherAudience: await token({ aud: 'another-project' }),
    withoutSub: await token({ sub: undefined }),
    withoutAud: await token({ aud: undefined }),
    withoutExp: await token({ exp: undefined }),
    withoutAny: await token({ sub: undefined, aud: undefined, exp: undefined }),
    notYet: await token({ nbf: now + hour }),
    withoutCompany: await token({ app_metadata: { provider: 'email' } }),
    emptyCompany: await token({ app_metadata: { company_id: '' } }),
  }
}

async function signed(issuer: Issuer, account: Account, changes: Record<string, unknown>): Promise<string> {
  // Of no session that the auth service knows, so that showing errors signs nobody in.
  const session = {
    id: randomUUID(),
    account,
    startedAt: new Date(),
    method: 'password' as const,
    refreshToken: '',
  }
  return (await issuer.issue(session, changes)).token
}

/** What somebody gets who writes another company into a token but cannot sign that. */
function forged(token: string): string {
  const [header, , signature] = token.split('.')
  const claims = { ...decodeJwt(token), app_metadata: { company_id: 'globex' } }
  return `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`
}
