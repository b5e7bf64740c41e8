export interface Account {
  readonly id: string
  readonly email: string
  /** Absent for a user whom nobody has put into a company yet. */
  readonly company?: string
  /** How the user came: with a password, or from somebody who vouched for the address. */
  readonly provider: string
  readonly createdAt: string
  /** Absent until the owner of the address has answered the e-mail. */
  confirmedAt?: string
  /** The user's own words: nothing may be decided by them. */
  metadata: Record<string, unknown>
}

/** The same for everyone: these accounts live on the loopback of one machine, as long as the demo runs. */
export const demoPassword = 'demo-password'

/** Plain ones in lower case: of the domain, a part becomes the name of a company. */
export const emailAddress = /^[^\s@]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$/

const born = '2025-01-01T00:00:00Z'

/** Fixed ids, so that what one run showed can be found again in the next. */
export const accounts: readonly Account[] = [
  known('5b0a4f5e-6a1c-4c57-9a3f-0d1c7a2e9b11', 'ana@acme.example', 'Ana', 'acme'),
  known('8f2d9c34-1e7b-4b7a-8c55-6a3e4d0f7c22', 'bruno@acme.example', 'Bruno', 'acme'),
  known('c41e7d90-93a5-4f0e-b2d8-17f6e5a8d333', 'carla@globex.example', 'Carla', 'globex'),
  known('e7a3b612-5d48-4e19-a0c6-92b4f8c1e444', 'nadie@example.com', 'Nadie'),
]

function known(id: string, email: string, fullName: string, company?: string): Account {
  return {
    id,
    email,
    ...(company !== undefined && { company }),
    provider: 'email',
    createdAt: born,
    confirmedAt: born,
    metadata: { full_name: fullName },
  }
}

/** The account as Supabase Auth shows it to its owner. */
export function userOf(account: Account, lastSignIn?: string) {
  const { id, email, provider, createdAt, confirmedAt } = account
  const updatedAt = lastSignIn ?? createdAt
  const confirmed = confirmedAt !== undefined
  return {
    id,
    aud: 'authenticated',
    role: 'authenticated',
    email,
    ...(confirmed && { email_confirmed_at: confirmedAt }),
    phone: '',
    ...(confirmed ? { confirmed_at: confirmedAt } : { confirmation_sent_at: createdAt }),
    ...(lastSignIn !== undefined && { last_sign_in_at: lastSignIn }),
    ...metadataOf(account),
    identities: [
      {
        identity_id: id,
        id,
        user_id: id,
        identity_data: { email, email_verified: confirmed, phone_verified: false, sub: id },
        provider,
        last_sign_in_at: updatedAt,
        created_at: createdAt,
        updated_at: updatedAt,
        email,
      },
    ],
    created_at: createdAt,
    updated_at: updatedAt,
    is_anonymous: false,
  }
}

/** `app_metadata` is the server's word, `user_metadata` the user's. */
export function metadataOf({ provider, company, metadata }: Account) {
  return {
    app_metadata: { provider, providers: [provider], ...(company !== undefined && { company_id: company }) },
    user_metadata: metadata,
  }
}
