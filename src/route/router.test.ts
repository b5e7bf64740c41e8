import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { RequestHeaders } from '../wire/request-headers.ts'
import { parseHost, parsePattern, type Segment } from './pattern.ts'
import { type Routable, Router } from './router.ts'

interface Route extends Routable {
  readonly name: string
}

interface Description {
  readonly path: string
  readonly host?: string | null
  readonly methods?: readonly string[] | null
  readonly headers?: readonly (readonly [string, string | true])[]
}

function route({ path, host = null, methods = null, headers = [] }: Description, index = 0): Route {
  const segments = parsePattern(path)
  assert.ok(typeof segments !== 'string', segments as string)
  return { name: `${index} ${path}`, host, segments, methods: methods && new Set(methods), headers }
}

interface Request {
  readonly path: string
  readonly method?: string
  readonly host?: string
  readonly headers?: readonly (readonly [string, string])[]
}

function find(router: Router<Route>, { path, method = 'GET', host = 'h', headers = [] }: Request) {
  return router.find({ path, method, host, headers: new RequestHeaders(headers.flat()) })
}

function routed(paths: readonly string[], path: string): string | null {
  const result = find(new Router(paths.map(pattern => route({ path: pattern }))), { path })
  return result.kind === 'matched' ? result.route.name.slice(2) : null
}

describe('the route of a path', () => {
  const table = ['/', '/a', '/a/*', '/a/b', '/a/{x}', '/a/{x}/c', '/a/{x}/*', '/a/b/c/{y}', '/*']
  const cases: [string, string][] = [
    ['/', '/'],
    ['/a', '/a'],
    ['/a/', '/a'],
    ['/a/b', '/a/b'],
    ['/a/b/', '/a/b'],
    ['/a/z', '/a/{x}'],
    ['/a/z/c', '/a/{x}/c'],
    ['/a/b/c', '/a/{x}/c'],
    ['/a/b/c/d', '/a/b/c/{y}'],
    ['/a/z/d', '/a/{x}/*'],
    ['/a/b/d', '/a/{x}/*'],
    ['/ab', '/*'],
    ['/A', '/*'],
    ['/x/y/z', '/*'],
  ]
  for (const [path, expected] of cases) {
    test(`${path} is ${expected}, in whatever order the routes are listed`, () => {
      assert.equal(routed(table, path), expected)
      assert.equal(routed(table.toReversed(), path), expected)
    })
  }

  test('ends at segment boundaries', () => {
    assert.equal(routed(['/api/v1/auth/*'], '/api/v1/authx'), null)
    assert.equal(routed(['/api/v1/auth/*'], '/api/v1/auth'), '/api/v1/auth/*')
    assert.equal(routed(['/api/v1/auth/*'], '/api/v1'), null)
  })

  test('is never an empty parameter, nor a name of Object', () => {
    assert.equal(routed(['/a/{x}'], '/a/'), null)
    for (const name of ['__proto__', 'constructor', 'toString'])
      assert.equal(routed(['/a'], `/${name}`), null)
    assert.equal(routed(['/__proto__', '/{x}'], '/__proto__'), '/__proto__')
  })
})

describe('parameters', () => {
  test('are what stands at their place in the path', () => {
    const router = new Router([route({ path: '/u/{user}/i/{item}/*' }), route({ path: '/u/{id}' })])
    const params = (path: string): unknown => {
      const result = find(router, { path })
      return result.kind === 'matched' ? { ...result.params } : result.kind
    }
    assert.deepEqual(params('/u/ana/i/7/x/y'), { user: 'ana', item: '7' })
    assert.deepEqual(params('/u/a b'), { id: 'a b' })
    assert.deepEqual(params('/u/ana/j/7'), 'not_found')
  })

  test('have no keys of their own beside those of the pattern', () => {
    const result = find(new Router([route({ path: '/{__proto__}' })]), { path: '/x' })
    assert.ok(result.kind === 'matched')
    assert.deepEqual(Object.keys(result.params), ['__proto__'])
    assert.equal('toString' in result.params, false)
  })
})

describe('methods', () => {
  const router = new Router([
    route({ path: '/a/b', methods: ['PUT'] }),
    route({ path: '/a/*', methods: ['GET', 'POST'] }),
    route({ path: '/any' }),
  ])

  test('send a request on to the next route that takes it', () => {
    const result = find(router, { path: '/a/b', method: 'POST' })
    assert.equal(result.kind === 'matched' && result.route.name, '0 /a/*')
  })

  test('are all told, sorted, when none fits; HEAD comes with GET', () => {
    assert.deepEqual(find(router, { path: '/a/b', method: 'DELETE' }), {
      kind: 'method_not_allowed',
      allowed: ['GET', 'HEAD', 'POST', 'PUT'],
    })
    assert.equal(find(router, { path: '/a/x', method: 'HEAD' }).kind, 'matched')
    assert.equal(find(router, { path: '/any', method: 'DELETE' }).kind, 'matched')
  })
})

describe('hosts', () => {
  const router = new Router([
    route({ path: '/a' }, 0),
    route({ path: '/a', host: '*.example.com' }, 1),
    route({ path: '/a', host: '*.eu.example.com' }, 2),
    route({ path: '/a', host: 'API.example.com' }, 3),
    route({ path: '/b' }, 4),
  ])
  for (const [host, expected] of [
    ['api.example.com', '3'],
    ['x.example.com', '1'],
    ['x.y.example.com', '1'],
    ['x.eu.example.com', '2'],
    ['example.com', '0'],
    ['.example.com', '0'],
    ['evilexample.com', '0'],
    ['', '0'],
  ] as const) {
    test(`exact before the longest suffix before any: ${JSON.stringify(host)}`, () => {
      const result = find(router, { path: '/a', host })
      assert.equal(result.kind === 'matched' && result.route.name[0], expected)
    })
  }

  test('do not hide routes that are for any host', () => {
    assert.equal(find(router, { path: '/b', host: 'api.example.com' }).kind, 'matched')
  })
})

// A second opinion: every route is tried, and those that fit are compared by the rules as they are written down.

const KIND_RANK = { static: 0, parameter: 1, end: 2, wildcard: 3 }

function fits(segments: readonly Segment[], path: string): boolean {
  const parts = path.replace(/\/$/, '').split('/').slice(1)
  const open = segments.at(-1)?.kind === 'wildcard'
  const fixed = open ? segments.slice(0, -1) : segments
  if (open ? parts.length < fixed.length : parts.length !== fixed.length) return false
  return fixed.every((segment, index) => segment.kind !== 'static' || segment.text === parts[index])
}

function hostRank(host: string | null, actual: string): number | null {
  if (host === null) return 1_000
  const parsed = parseHost(host)!
  if ('exact' in parsed) return parsed.exact === actual ? 0 : null
  return actual.endsWith(parsed.suffix) && actual !== parsed.suffix ? 900 - parsed.suffix.length : null
}

function reference(routes: readonly Route[], request: Request) {
  const { path, method = 'GET', host = 'h', headers = [] } = request
  const candidates = routes.filter(
    ({ segments, host: own, headers: conditions }) =>
      fits(segments, path) &&
      hostRank(own, host) !== null &&
      conditions.every(([name, value]) =>
        headers.some(([other, text]) => other === name && (value === true || text === value)),
      ),
  )
  const allows = ({ methods }: Route): boolean =>
    methods === null || methods.has(method) || (method === 'HEAD' && methods.has('GET'))
  const rank = (candidate: Route): number[] => [
    hostRank(candidate.host, host)!,
    ...Array.from({ length: 6 }, (_, index) => KIND_RANK[candidate.segments[index]?.kind ?? 'end']),
    -candidate.headers.length,
    candidate.methods === null ? 1 : 0,
    routes.indexOf(candidate),
  ]
  const [best] = candidates.filter(allows).sort((a, b) => {
    const [left, right] = [rank(a), rank(b)]
    const at = left.findIndex((value, index) => value !== right[index])
    return at === -1 ? 0 : left[at]! - right[at]!
  })
  if (best !== undefined) return best.name
  if (candidates.length === 0) return 'not_found'
  const allowed = new Set(candidates.flatMap(({ methods }) => [...methods!]))
  if (allowed.has('GET')) allowed.add('HEAD')
  return [...allowed].sort()
}

describe('the router', () => {
  const patternPart = fc.constantFrom('a', 'b', '{p}', '{p}', 'c')
  const path = fc
    .tuple(fc.array(patternPart, { maxLength: 4 }), fc.boolean())
    .map(
      ([parts, open]) =>
        `/${[...parts.map((part, index) => part.replace('p', `p${index}`)), ...(open ? ['*'] : [])].join('/')}`,
    )
  const methods = fc.option(fc.uniqueArray(fc.constantFrom('GET', 'POST', 'PUT', 'HEAD'), { minLength: 1 }), {
    nil: null,
  })
  const condition = fc.tuple(fc.constantFrom('x-a', 'x-b'), fc.constantFrom('1', '2', true as const))
  const description: fc.Arbitrary<Description> = fc.record({
    path,
    methods,
    host: fc.constantFrom(null, null, 'h.test', '*.test', '*.h.test'),
    headers: fc.uniqueArray(condition, { maxLength: 2, selector: ([name]) => name }),
  })
  const request: fc.Arbitrary<Request> = fc.record({
    path: fc
      .tuple(fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 5 }), fc.boolean())
      .map(([parts, slash]) => `/${parts.join('/')}${slash && parts.length > 0 ? '/' : ''}`),
    method: fc.constantFrom('GET', 'POST', 'HEAD', 'DELETE'),
    host: fc.constantFrom('h.test', 'x.test', 'x.h.test', 'other', 'test'),
    headers: fc.uniqueArray(fc.tuple(fc.constantFrom('x-a', 'x-b'), fc.constantFrom('1', '2', '3')), {
      maxLength: 2,
      selector: ([name]) => name,
    }),
  })

  test('agrees with trying every route and comparing those that fit', () => {
    fc.assert(
      fc.property(
        fc.array(description, { maxLength: 12 }),
        fc.array(request, { minLength: 1, maxLength: 8 }),
        (table, requests) => {
          const routes = table.map(route)
          const router = new Router(routes)
          for (const one of requests) {
            const result = find(router, one)
            const found =
              result.kind === 'matched'
                ? result.route.name
                : result.kind === 'not_found'
                  ? 'not_found'
                  : result.allowed
            assert.deepEqual(found, reference(routes, one), JSON.stringify(one))
          }
        },
      ),
      { numRuns: 1_500 },
    )
  })
})
