/** The opening handshake of WebSockets, RFC 6455 §4, as far as a gateway has to judge it. */

import { createHash } from 'node:crypto'
import type { RequestHeaders } from './request-headers.ts'

export const WEBSOCKET_VERSION = '13'

/** RFC 6455 §1.3 */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** 16 bytes in Base64, RFC 6455 §4.1; their last character carries four bits that mean nothing. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/

/** What is wrong with a handshake: `version`, or a text fit for the client; null: nothing. */
export function handshakeFault(method: string, headers: RequestHeaders): 'version' | string | null {
  if (method !== 'GET') return 'A WebSocket begins with GET.'
  if (!optionsOf(headers.getAll('connection')).includes('upgrade'))
    return 'Upgrade needs the option upgrade in Connection.'
  const versions = headers.getAll('sec-websocket-version')
  if (versions.length > 1) return 'More than one Sec-WebSocket-Version.'
  if (versions[0] !== WEBSOCKET_VERSION) return 'version'
  const keys = headers.getAll('sec-websocket-key')
  if (keys.length !== 1)
    return keys.length === 0 ? 'No Sec-WebSocket-Key.' : 'More than one Sec-WebSocket-Key.'
  return KEY.test(keys[0]!) ? null : 'Sec-WebSocket-Key is not 16 bytes in Base64.'
}

/** The client asks for a WebSocket. Whether it does so rightly is another question. */
export function asksForWebSocket(headers: RequestHeaders): boolean {
  return optionsOf(headers.getAll('upgrade')).includes('websocket')
}

/** Whether an upstream's 101 is the answer to this very handshake (RFC 6455 §4.1). */
export function isAcceptance(fields: readonly string[], key: string): boolean {
  const values = { upgrade: '', connection: '', 'sec-websocket-accept': '' }
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase()
    if (Object.hasOwn(values, name)) values[name as keyof typeof values] += `${fields[i + 1]},`
  }
  return (
    values.upgrade.toLowerCase() === 'websocket,' &&
    optionsOf([values.connection]).includes('upgrade') &&
    values['sec-websocket-accept'] === `${acceptOf(key)},`
  )
}

export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}${GUID}`).digest('base64')
}

function optionsOf(values: readonly string[]): string[] {
  return values.length === 0
    ? []
    : values
        .join(',')
        .toLowerCase()
        .split(',')
        .map(option => option.trim())
}
