import { demoPassword } from './accounts.ts'

/** Signs in as any client would: through the gateway. */
export async function signIn(gatewayUrl: string, email: string): Promise<string> {
  const response = await fetch(`${gatewayUrl}/api/v1/auth/token?grant_type=password`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email, password: demoPassword }),
  })
  if (!response.ok)
    throw new Error(`signing in as ${email} failed: ${response.status} ${await response.text()}`)
  const { access_token: token } = (await response.json()) as { access_token: string }
  return token
}
