// The check of a request's token for nginx, in njs (an older
// ECMAScript: no optional calls). Its verdict is a status; the claims go into variables.
// biome-ignore lint/style/useNodejsImportProtocol: njs knows its modules by the bare name only
import crypto from 'crypto'

function verdict(r) {
  const authorization = r.headersIn.Authorization || ''
  if (!authorization.startsWith('Bearer ')) return '401'
  const parts = authorization.slice(7).split('.')
  if (parts.length !== 3) return '401'
  const signature = crypto
    .createHmac('sha256', r.variables.jwt_secret)
    .update(`${parts[0]}.${parts[1]}`)
    .digest('base64url')
  if (signature !== parts[2]) return '401'
  let claims
  try {
    if (decode(parts[0]).alg !== 'HS256') return '401'
    claims = decode(parts[1])
  } catch (_) {
    return '401'
  }
  if (typeof claims.exp !== 'number' || claims.exp <= Date.now() / 1000) return '401'
  if (claims.aud !== 'authenticated' || !claims.sub) return '401'
  const metadata = claims.app_metadata || {}
  const company = metadata.company_id
  if (!company) return '403'
  r.variables.company = company
  r.variables.user = claims.sub
  r.variables.email = claims.email || ''
  return '200'
}

function decode(part) {
  return JSON.parse(Buffer.from(part, 'base64url').toString())
}

export default { verdict }
