/**
 * Chooses the route of a request: the most specific one that fits, no matter in which order routes were listed.
 * Exact host before wildcard host before any; then, segment by segment, literal before parameter before `*`; then
 * more header conditions before fewer; then routes for certain methods before those for any; then the order of the list.
 */

import type { RequestHeaders } from '../wire/request-headers.ts'
import { parseHost, type Segment } from './pattern.ts'

export interface Routable {
  readonly host: string | null
  readonly segments: readonly Segment[]
  /** null: any method. HEAD is allowed wherever GET is. */
  readonly methods: ReadonlySet<string> | null
  /** Lower-case header name → value it must have, or true for any. */
  readonly headers: readonly (readonly [string, string | true])[]
}

export type RouterResult<R> =
  | { readonly kind: 'matched'; readonly route: R; readonly params: Readonly<Record<string, string>> }
  | { readonly kind: 'not_found' }
  /** The path exists, the method does not: what does. */
  | { readonly kind: 'method_not_allowed'; readonly allowed: readonly string[] }

interface Node<R> {
  readonly children: Map<string, Node<R>>
  parameter: Node<R> | null
  /** Routes that end here. */
  readonly here: R[]
  /** Routes that take the rest of the path. */
  readonly rest: R[]
}

interface Query {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly headers: RequestHeaders
}

const NOT_FOUND: RouterResult<never> = { kind: 'not_found' }

export class Router<R extends Routable> {
  readonly #exactHosts = new Map<string, Node<R>>()
  /** Longest suffix first. */
  readonly #hostSuffixes: { suffix: string; root: Node<R> }[] = []
  readonly #anyHost: Node<R> = node()

  constructor(routes: readonly R[]) {
    for (const route of routes) this.#insert(route)
    this.#hostSuffixes.sort((a, b) => b.suffix.length - a.suffix.length)
  }

  /** @param query `path` is the decoded path, `host` lower case without port */
  find(query: Query): RouterResult<R> {
    const search = new Search<R>(query)
    const exact = this.#exactHosts.size === 0 ? undefined : this.#exactHosts.get(query.host)
    const route =
      (exact && search.walk(exact, 1)) ??
      this.#findBySuffix(search, query.host) ??
      search.walk(this.#anyHost, 1)
    if (route) return { kind: 'matched', route, params: search.params(route) }
    if (search.allowed === null) return NOT_FOUND
    return { kind: 'method_not_allowed', allowed: [...search.allowed].sort() }
  }

  #findBySuffix(search: Search<R>, host: string): R | null {
    for (const { suffix, root } of this.#hostSuffixes) {
      const route = host.endsWith(suffix) && host.length > suffix.length ? search.walk(root, 1) : null
      if (route !== null) return route
    }
    return null
  }

  #insert(route: R): void {
    let at = this.#rootFor(route.host)
    for (const segment of route.segments) {
      if (segment.kind === 'wildcard') {
        insertByConditions(at.rest, route)
        return
      }
      if (segment.kind === 'static') {
        at = entryOf(at.children, segment.text)
      } else {
        at.parameter ??= node()
        at = at.parameter
      }
    }
    insertByConditions(at.here, route)
  }

  #rootFor(host: string | null): Node<R> {
    const parsed = host === null ? null : parseHost(host)
    if (parsed === null) return this.#anyHost
    if ('exact' in parsed) return entryOf(this.#exactHosts, parsed.exact)
    const known = this.#hostSuffixes.find(({ suffix }) => suffix === parsed.suffix)
    if (known !== undefined) return known.root
    const root = node<R>()
    this.#hostSuffixes.push({ suffix: parsed.suffix, root })
    return root
  }
}

function node<R>(): Node<R> {
  return { children: new Map(), parameter: null, here: [], rest: [] }
}

function entryOf<R>(table: Map<string, Node<R>>, key: string): Node<R> {
  const known = table.get(key)
  if (known !== undefined) return known
  const made = node<R>()
  table.set(key, made)
  return made
}

/** How much a route asks of a request beside its path. */
function rank(route: Routable): number {
  return 2 * route.headers.length + (route.methods === null ? 0 : 1)
}

function insertByConditions<R extends Routable>(list: R[], route: R): void {
  const at = list.findIndex(other => rank(other) < rank(route))
  list.splice(at === -1 ? list.length : at, 0, route)
}

/** One walk down the tree, with the methods it had to pass by. */
class Search<R extends Routable> {
  readonly #query: Query
  allowed: Set<string> | null = null

  constructor(query: Query) {
    this.#query = query
  }

  /** The best route below `at` for the path from offset `start`, or null. */
  walk(at: Node<R>, start: number): R | null {
    const { path } = this.#query
    // A slash at the end asks for the same route: many services answer both, so both get the same policies.
    if (start >= path.length) return this.#choose(at.here) ?? this.#choose(at.rest)
    const slash = path.indexOf('/', start)
    const end = slash === -1 ? path.length : slash
    const child = at.children.size === 0 ? undefined : at.children.get(path.slice(start, end))
    return (
      (child && this.walk(child, end + 1)) ??
      (at.parameter !== null && end > start ? this.walk(at.parameter, end + 1) : null) ??
      this.#choose(at.rest)
    )
  }

  /** What the parameters of a route stand for in this path. */
  params(route: R): Readonly<Record<string, string>> {
    if (!route.segments.some(segment => segment.kind === 'parameter')) return NO_PARAMS
    const parts = this.#query.path.slice(1).split('/')
    const params: Record<string, string> = Object.create(null)
    for (const [index, segment] of route.segments.entries()) {
      if (segment.kind === 'parameter') params[segment.name] = parts[index]!
    }
    return params
  }

  #choose(routes: readonly R[]): R | null {
    for (const route of routes) {
      if (!this.#headersFit(route)) continue
      if (methodFits(route, this.#query.method)) return route
      this.allowed ??= new Set()
      for (const method of route.methods ?? []) this.allowed.add(method)
      if (route.methods?.has('GET')) this.allowed.add('HEAD')
    }
    return null
  }

  #headersFit(route: R): boolean {
    return route.headers.every(([name, expected]) => {
      const value = this.#query.headers.get(name)
      return expected === true ? value !== undefined : value === expected
    })
  }
}

function methodFits(route: Routable, method: string): boolean {
  return (
    route.methods === null || route.methods.has(method) || (method === 'HEAD' && route.methods.has('GET'))
  )
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze(
  Object.create(null) as Record<string, string>,
)
