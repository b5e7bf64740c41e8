/** A key server and the tokens that its keys sign. */

import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { type ClaimSet, claims } from './token.ts'

export interface SigningKey {
  readonly kid: string
  readonly publicJwk: JWK
  sign(payload?: ClaimSet, header?: ClaimSet): Promise<string>
}

export async function signingKey(alg: 'ES256' | 'RS256' | 'EdDSA', kid: string): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const publicJwk: JWK = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }
  return {
    kid,
    publicJwk,
    sign: (payload = claims(), header = {}) =>
      new SignJWT(payload).setProtectedHeader({ alg, kid, typ: 'JWT', ...header }).sign(privateKey),
  }
}

export interface KeyServer {
  readonly url: string
  readonly port: number
  /** What it serves; may be changed at any time. */
  keys: JWK[]
  fetches(): number
  /** Resolves with the next fetch. */
  fetched(): Promise<void>
  /** Frees the port; `listen` takes it again. */
  close(): Promise<void>
  listen(): Promise<void>
}

/** Listens on a free port, or on `port` when a server is to come back where one was. */
export async function keyServer(keys: JWK[] = []): Promise<KeyServer> {
  let fetches = 0
  let port = 0
  const waiting: (() => void)[] = []
  const server = http.createServer((_, response) => {
    fetches++
    response.setHeader('content-type', 'application/json')
    response.setHeader('connection', 'close')
    response.end(JSON.stringify({ keys: own.keys }))
    waiting.shift()?.()
  })
  const own: KeyServer = {
    get url() {
      return `http://127.0.0.1:${port}/.well-known/jwks.json`
    },
    get port() {
      return port
    },
    keys,
    fetches: () => fetches,
    fetched: () => new Promise(resolve => waiting.push(resolve)),
    async close() {
      if (!server.listening) return
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
    async listen() {
      server.listen(port, '127.0.0.1')
      await once(server, 'listening')
      port = (server.address() as AddressInfo).port
    },
  }
  await own.listen()
  return own
}
