const loopback = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * Where a browser may be sent with a code or a token: to pages of this machine. Anything else goes to `siteUrl`, as
 * Supabase Auth does it, for a link that leads anywhere gives what it carries to anybody.
 */
export function allowedRedirect(asked: string | null, siteUrl: string): URL {
  const url = asked !== null && URL.canParse(asked) ? new URL(asked) : null
  const allowed =
    url !== null &&
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    loopback.has(url.hostname) &&
    url.username === '' &&
    url.password === ''
  return allowed ? url : new URL(siteUrl)
}

/** With more in its query, beside what is there. */
export function withQuery(url: URL, more: Record<string, string>): string {
  const result = new URL(url)
  for (const [name, value] of Object.entries(more)) result.searchParams.set(name, value)
  return result.href
}

/** With this as its fragment, which browsers send to nobody. */
export function withFragment(url: URL, values: Record<string, string>): string {
  const result = new URL(url)
  result.hash = new URLSearchParams(values).toString()
  return result.href
}
