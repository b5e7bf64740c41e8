/**
 * `Location` and `Content-Location` as the client has to see them. An upstream names its own paths, and sometimes its own
 * host; behind the gateway they have others. What names anything else passes byte for byte.
 */

import type { Exchange } from '../exchange.ts'
import type { Rewrite } from '../route/rewrite.ts'

/** How a route changes paths on the way up. */
export interface PathChange {
  readonly rewrite: Rewrite
  /** Segments of the client's path that it replaces. */
  readonly segments: number
}

export interface LocationOptions {
  /** The upstream's own host and port, without the port that its scheme implies. */
  readonly authority: string
  readonly secure: boolean
  /** The upstream is told the client's host as its own. */
  readonly preserveHost: boolean
  /** Path in front of every request's own, without a slash at its end. */
  readonly basePath: string
  /** null: paths go up as they come. */
  readonly change: PathChange | null
}

/** @returns the value for the client */
export type LocationMapper = (value: string, exchange: Exchange, status: number) => string

/** Fields whose value is a reference to map, in lower case. */
export const LOCATION_FIELDS: ReadonlySet<string> = new Set(['location', 'content-location'])

/** Scheme, authority, and the rest. Not a browser's reading: what only a browser takes for an authority is foreign. */
const WITH_AUTHORITY = /^(?:(https?):)?\/\/([^/?#\\]+)((?:[/?#].*)?)$/i

export function locationMapper(options: LocationOptions): LocationMapper {
  const { basePath, change, secure } = options
  const own = withPort(options.authority, secure)

  return function mapLocation(value, exchange, status) {
    if (isPathAbsolute(value)) return toClient(value, exchange) ?? value
    const match = WITH_AUTHORITY.exec(value)
    if (match === null) return value
    const scheme = match[1]?.toLowerCase()
    const authority = match[2]!.toLowerCase()
    const isUpstream = withPort(authority, scheme === undefined ? secure : scheme === 'https') === own
    if (!isUpstream && !isClients(scheme, authority, exchange, status)) return value
    const rest = match[3]!
    const path = rest.startsWith('/') ? rest : `/${rest}`
    return toClient(path, exchange) ?? value
  }

  /**
   * The name that the client uses. A redirect to it may well lead to the application beside the gateway, which has the
   * same host, unless that is the name under which the upstream knows itself. To `https` from `http` it is an upgrade.
   */
  function isClients(
    scheme: string | undefined,
    authority: string,
    exchange: Exchange,
    status: number,
  ): boolean {
    if (status >= 300 && status < 400 && !options.preserveHost) return false
    const { protocol } = exchange.client
    if (scheme === 'https' && protocol === 'http') return false
    const asked = exchange.authority.toLowerCase()
    return asked !== '' && withPort(authority, scheme === 'https') === withPort(asked, scheme === 'https')
  }

  /** A path of the upstream's as one of the client's; null: the gateway does not lead there. */
  function toClient(path: string, exchange: Exchange): string | null {
    const outer = change === null ? '' : outerPrefix(exchange.rawPath, change.segments)
    const inner = change === null ? basePath : basePath + change.rewrite(`${outer}/`).replace(/\/$/, '')
    const isInner = isBelow(path, inner)
    // An upstream that heeds X-Forwarded-Prefix has put it there already.
    const isOuter = outer !== '' && isBelow(path, outer)
    if (isOuter && (!isInner || outer.length > inner.length)) return safe(path)
    return isInner ? safe(outer + path.slice(inner.length)) : null
  }
}

/** The first segments of a path, without a slash at their end. */
function outerPrefix(rawPath: string, segments: number): string {
  let end = 0
  for (let i = 0; i < segments && end !== -1; i++) end = rawPath.indexOf('/', end + 1)
  return end === -1 ? rawPath.replace(/\/$/, '') : rawPath.slice(0, end)
}

/** The path is the prefix, or goes on behind it with a new segment, a query or a fragment. */
function isBelow(path: string, prefix: string): boolean {
  if (!path.startsWith(prefix)) return false
  return path.length === prefix.length || '/?#'.includes(path[prefix.length]!)
}

/** A path, and to browsers too: they read `\` as `/`, and drop tabs before they read. */
function isPathAbsolute(value: string): boolean {
  return value.startsWith('/') && !/^\/\t*[/\\]/.test(value)
}

/** Cutting off what stood before it must not make another host out of a path: `//evil.example`, to browsers also `/\`. */
function safe(path: string): string {
  return path.replace(/^[/\\\t]*/, '/')
}

function withPort(authority: string, secure: boolean): string {
  return /:\d+$/.test(authority) ? authority : `${authority}:${secure ? 443 : 80}`
}
