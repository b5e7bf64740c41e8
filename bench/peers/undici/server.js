// The least that a proxy with a token check can be on Node with the libraries that everybody takes.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { Pool } from 'undici'

const pool = new Pool(process.env.UPSTREAM, { connections: 256 })
const DROPPED = new Set(['host', 'connection', 'keep-alive', 'x-company-id', 'x-user-id', 'x-user-email'])
const verified = new Map()

function verify(authorization) {
  if (!authorization?.startsWith('Bearer ')) return null
  const token = authorization.slice(7)
  let claims = verified.get(token)
  if (claims === undefined) {
    claims = check(token)
    if (claims === null) return null
    if (verified.size === 10_000) verified.clear()
    verified.set(token, claims)
  }
  return claims.exp > Date.now() / 1000 ? claims : null
}

function check(token) {
  const [head, body, signature] = token.split('.')
  const expected = createHmac('sha256', process.env.JWT_SECRET).update(`${head}.${body}`).digest()
  const given = Buffer.from(signature ?? '', 'base64url')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
  const decode = part => JSON.parse(Buffer.from(part, 'base64url').toString())
  const claims = decode(body)
  const good = decode(head).alg === 'HS256' && claims.aud === 'authenticated' && claims.sub && claims.exp
  return good ? claims : null
}

createServer((request, response) => {
  const claims = verify(request.headers.authorization)
  const company = claims?.app_metadata?.company_id
  if (!company) {
    request.resume()
    response.writeHead(claims === null ? 401 : 403, { 'content-length': 0 })
    response.end()
    return
  }
  const headers = { 'x-company-id': company, 'x-user-id': claims.sub }
  if (claims.email) headers['x-user-email'] = claims.email
  for (const name in request.headers) if (!DROPPED.has(name)) headers[name] = request.headers[name]
  const body = request.method === 'GET' ? null : request
  pool.stream(
    { method: request.method, path: request.url, headers, body },
    ({ statusCode, headers: answered }) => {
      delete answered.connection
      delete answered['keep-alive']
      delete answered['transfer-encoding']
      return response.writeHead(statusCode, answered)
    },
    error => {
      if (error) response.destroy(error)
    },
  )
}).listen(Number(process.env.PORT), '127.0.0.1')
