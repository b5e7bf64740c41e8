/** Parameters of a raw query, taken out without touching a byte of the others. */

export interface TakenParameters {
  /** What is left of the query, with its `?`; '' when nothing is. */
  readonly rest: string
  /** `[name, value, …]` of what was taken, decoded, in order. */
  readonly taken: readonly string[]
}

/**
 * Takes every parameter with one of these names out of a query, however the name is encoded.
 *
 * @param query raw, with its `?`, or ''
 * @param isMeant whether one with such a name and this value is taken, too
 * @example takeParameters('?a=%20&ticket=x&b', new Set(['ticket'])) // { rest: '?a=%20&b', taken: ['ticket', 'x'] }
 */
export function takeParameters(
  query: string,
  names: ReadonlySet<string>,
  isMeant: (name: string, value: string) => boolean = () => true,
): TakenParameters {
  const taken: string[] = []
  const kept = query.slice(1).split('&')
  const rest = kept.filter(parameter => {
    const equals = parameter.indexOf('=')
    const name = decoded(equals === -1 ? parameter : parameter.slice(0, equals))
    if (!names.has(name)) return true
    const value = equals === -1 ? '' : decoded(parameter.slice(equals + 1))
    if (!isMeant(name, value)) return true
    taken.push(name, value)
    return false
  })
  if (taken.length === 0) return { rest: query, taken }
  return { rest: rest.length === 0 ? '' : `?${rest.join('&')}`, taken }
}

/** As `application/x-www-form-urlencoded` has it; what is no such text stays as it is. */
function decoded(text: string): string {
  if (!/[%+]/.test(text)) return text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}
