/** Prints a token such as Supabase issues, signed with GATEWAY_JWT_SECRET: `token.ts ['{"claim":"value"}']` */

import process from 'node:process'
import { SignJWT } from 'jose'

const secret = process.env.GATEWAY_JWT_SECRET
if (!secret) throw new Error('GATEWAY_JWT_SECRET is not set: export the one that the gateway has')

const claims = {
  sub: '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11',
  aud: 'authenticated',
  role: 'authenticated',
  email: 'ana@acme.example',
  app_metadata: { company_id: 'acme' },
  ...(JSON.parse(process.argv[2] ?? '{}') as Record<string, unknown>),
}
const token = await new SignJWT(claims)
  .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
  .setIssuedAt()
  .setExpirationTime('1h')
  .sign(new TextEncoder().encode(secret))
console.log(token)
