/**
 * What a raw path means, when it means one thing only.
 *
 * Routes are matched against the decoded path while the upstream gets the raw one. Whatever an upstream could
 * resolve to another path than the one whose policies were applied is therefore refused here: dot segments, encoded
 * slashes, backslashes, empty segments, and what turns into one of these when it is decoded twice.
 */

const NEEDS_A_LOOK = /[%\\;]|\/\/|\/\./

/** Encoded `/`, `\`, NUL and other controls: what decoding would turn into another path. */
const ENCODED_SYNTAX = /%(?:2f|5c|[01][0-9a-f]|7f)/i
/** What a second decoding would turn into another path. */
const TWICE_ENCODED_SYNTAX = /%(?:2e|2f|3b|5c|[01][0-9a-f]|7f)/i

/** @returns the decoded path, or null when the raw one is ambiguous or no path at all */
export function decodePath(raw: string): string | null {
  if (raw.charCodeAt(0) !== 0x2f || raw.includes('#')) return null
  if (!NEEDS_A_LOOK.test(raw)) return raw
  if (raw.includes('\\') || raw.includes('//') || ENCODED_SYNTAX.test(raw)) return null
  const decoded = percentDecoded(raw)
  if (decoded === null || TWICE_ENCODED_SYNTAX.test(decoded) || hasTrickSegment(decoded)) return null
  return decoded
}

function percentDecoded(raw: string): string | null {
  if (!raw.includes('%')) return raw
  try {
    return decodeURIComponent(raw)
  } catch {
    return null
  }
}

/**
 * A segment that is `.`, `..` or nothing at all in front of path parameters, as some servers cut those off first, and
 * then merge slashes.
 */
function hasTrickSegment(path: string): boolean {
  return path.split('/').some(segment => {
    const name = segment.split(';', 1)[0]!
    return name === '.' || name === '..' || (name === '' && segment !== '')
  })
}
