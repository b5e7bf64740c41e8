import type { VerifierSettings } from '../../src/identity/verify.ts'
import { SECRET } from './gateway.ts'

/** Settings of a verifier for Supabase's tokens, with the shared secret alone. */
export function verifierSettings(over: Partial<VerifierSettings> = {}): VerifierSettings {
  return {
    rules: {
      audience: 'authenticated',
      issuers: null,
      leeway: 30,
      tenantClaim: ['app_metadata', 'company_id'],
    },
    secret: { algorithm: 'HS256', value: SECRET },
    signatureAlgorithms: [],
    cacheBytes: 1_000_000,
    ...over,
  }
}
