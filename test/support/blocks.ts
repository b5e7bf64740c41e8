/** The admin port's word on who is blocked. */

import { type Answer, send } from './client.ts'
import type { GatewayProcess } from './gateway.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

export interface Listed {
  readonly kind: string
  readonly id: string
  readonly reason: string | null
  readonly since: string
  readonly until: string | null
}

export function block(
  gateway: GatewayProcess,
  body: object | string,
  headers: Record<string, string> = JSON_TYPE,
  method = 'POST',
): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  // Node's client sends a body without its length where the method does not expect one.
  const length = { 'content-length': String(Buffer.byteLength(text)) }
  return send(`${gateway.adminUrl}/blocks`, { method, headers: { ...length, ...headers }, body: text })
}

export function unblock(gateway: GatewayProcess, body: object): Promise<Answer> {
  return block(gateway, body, JSON_TYPE, 'DELETE')
}

export async function listed(gateway: GatewayProcess): Promise<Listed[]> {
  return (await send(`${gateway.adminUrl}/blocks`)).json()
}
