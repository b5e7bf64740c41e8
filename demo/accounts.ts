export interface Account {
  id: string
  email: string
  /** Absent for a user whom nobody has put into a company yet. */
  company?: string
  fullName: string
}

/** The same for everyone: these accounts live on the loopback of one machine, as long as the demo runs. */
export const demoPassword = 'demo-password'

/** Fixed ids, so that what one run showed can be found again in the next. */
export const accounts: readonly Account[] = [
  { id: '5b0a4f5e-6a1c-4c57-9a3f-0d1c7a2e9b11', email: 'ana@acme.example', company: 'acme', fullName: 'Ana' },
  {
    id: '8f2d9c34-1e7b-4b7a-8c55-6a3e4d0f7c22',
    email: 'bruno@acme.example',
    company: 'acme',
    fullName: 'Bruno',
  },
  {
    id: 'c41e7d90-93a5-4f0e-b2d8-17f6e5a8d333',
    email: 'carla@globex.example',
    company: 'globex',
    fullName: 'Carla',
  },
  { id: 'e7a3b612-5d48-4e19-a0c6-92b4f8c1e444', email: 'nadie@example.com', fullName: 'Nadie' },
]

const born = '2025-01-01T00:00:00Z'

/** The account as Supabase Auth shows it to its owner; `app_metadata` is the server's word, `user_metadata` the user's. */
export function userOf(account: Account, lastSignIn: string) {
  return {
    id: account.id,
    aud: 'authenticated',
    role: 'authenticated',
    email: account.email,
    email_confirmed_at: born,
    phone: '',
    confirmed_at: born,
    last_sign_in_at: lastSignIn,
    ...metadataOf(account),
    identities: [],
    created_at: born,
    updated_at: lastSignIn,
    is_anonymous: false,
  }
}

export function metadataOf(account: Account) {
  return {
    app_metadata: {
      provider: 'email',
      providers: ['email'],
      ...(account.company !== undefined && { company_id: account.company }),
    },
    user_metadata: { full_name: account.fullName },
  }
}
