/** Paths of Supabase Auth (GoTrue), wherever it stands and whatever is in front of them. */

/** A segment that is one of these words to whoever trims, cuts off parameters, folds letters or compares loosely. */
const ADMIN_SEGMENT = /[/\\][^\p{L}\p{N}/\\]*(?:admin|invite|scim)(?![\p{L}\p{N}_-])/iu
/** Any depth of encoding. */
const ESCAPE = /%(?:25)*([0-9a-f]{2})/gi
const LOGOUT = /\/logout(?:;[^/]*)?\/?$/i

/**
 * Whether any segment names the administration. The service has no other paths with such a segment, so it need not be
 * known which part of the path it takes for its own.
 *
 * @param path decoded once
 */
export function isAdminPath(path: string): boolean {
  return ADMIN_SEGMENT.test(unescaped(unescaped(path)).normalize('NFKC'))
}

/** Where users sign out. Generous: what it means is decided by the service's answer. */
export function isLogoutPath(path: string): boolean {
  return LOGOUT.test(path)
}

function unescaped(path: string): string {
  if (!path.includes('%')) return path
  return path.replace(ESCAPE, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
