/** Path patterns of routes: `/exact`, `/prefix/*`, `/with/{parameter}`. */

export type Segment =
  | { readonly kind: 'static'; readonly text: string }
  | { readonly kind: 'parameter'; readonly name: string }
  /** The rest of the path, possibly nothing. Only at the end. */
  | { readonly kind: 'wildcard' }

/** @returns the segments, or in words what is wrong with the pattern */
export function parsePattern(pattern: string): readonly Segment[] | string {
  if (!pattern.startsWith('/')) return 'must begin with /'
  if (/[?#\\\s]/.test(pattern)) return 'must not have a query, fragment, backslash or space'
  if (pattern.includes('//')) return 'has an empty segment (//)'
  const parts = pattern === '/' ? [] : pattern.slice(1).split('/')
  if (parts.at(-1) === '') parts.pop()
  const segments: Segment[] = []
  for (const [index, part] of parts.entries()) {
    const segment = parseSegment(part)
    if (typeof segment === 'string') return segment
    if (segment.kind === 'wildcard' && index !== parts.length - 1)
      return 'has * before its end: only the last segment may be *'
    segments.push(segment)
  }
  const names = segments.flatMap(segment => (segment.kind === 'parameter' ? [segment.name] : []))
  if (new Set(names).size !== names.length) return 'uses a parameter name twice'
  return segments
}

function parseSegment(part: string): Segment | string {
  if (part === '*') return { kind: 'wildcard' }
  if (part === '.' || part === '..') return 'has a dot segment'
  const parameter = /^\{([A-Za-z_]\w*)\}$/.exec(part)
  if (parameter !== null) return { kind: 'parameter', name: parameter[1]! }
  if (/[{}*%]/.test(part))
    return `has the segment ${JSON.stringify(part)}: {name} and * must be whole segments, and % is not needed`
  return { kind: 'static', text: part }
}

/** Exact host or `*.` and a suffix, lower case. */
export function parseHost(host: string): { exact: string } | { suffix: string } | null {
  const lower = host.toLowerCase()
  if (/^[a-z0-9.-]+$/.test(lower)) return { exact: lower }
  return /^\*\.[a-z0-9.-]+$/.test(lower) ? { suffix: lower.slice(1) } : null
}
