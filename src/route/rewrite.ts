/** The path for the upstream, made from the raw one, so that its encoding stays as the client chose it. */

import type { Segment } from './pattern.ts'

export type Rewrite = (rawPath: string) => string

/** Drops the first `count` segments. */
export function stripSegments(count: number): Rewrite {
  return rawPath => {
    let at = 0
    for (let i = 0; i < count; i++) {
      at = rawPath.indexOf('/', at + 1)
      if (at === -1) return '/'
    }
    return rawPath.slice(at)
  }
}

/** Drops the `/v1` as well that supabase-js puts in front of every path of the auth service, which has its own at its root. */
export function withoutVersion(rewrite: Rewrite): Rewrite {
  return rawPath => {
    const path = rewrite(rawPath)
    if (path === '/v1') return '/'
    return path.startsWith('/v1/') ? path.slice(3) : path
  }
}

/** Fills a template such as `/v2/{id}/*` with what the segments of a pattern stand for. */
export function fillTemplate(template: string, segments: readonly Segment[]): Rewrite {
  return rawPath => {
    const parts = rawPath.slice(1).split('/')
    return template.replace(/\{([^}]*)\}|\*/g, (whole, name?: string) => {
      if (whole === '*') return parts.slice(segments.length - 1).join('/')
      return parts[segments.findIndex(segment => segment.kind === 'parameter' && segment.name === name)] ?? ''
    })
  }
}
