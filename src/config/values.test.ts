import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { z } from 'zod'
import { duration, httpUrl, network, origin, originPattern, port, serviceUrl, size } from './values.ts'

/** What a schema makes of a value; `refused` when it does not take it. */
function parse(schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value)
  return result.success ? result.data : 'refused'
}

function table(
  schema: z.ZodType,
  accepted: readonly (readonly [unknown, unknown])[],
  refused: readonly unknown[],
): void {
  for (const [value, expected] of accepted) {
    test(`${JSON.stringify(value)} is ${JSON.stringify(expected)}`, () =>
      assert.deepEqual(parse(schema, value), expected))
  }
  for (const value of refused) {
    test(`${JSON.stringify(value) ?? String(value)} is refused`, () =>
      assert.equal(parse(schema, value), 'refused'))
  }
}

describe('a duration in seconds', () => {
  table(
    duration,
    [
      [60, 60],
      [0, 0],
      [0.5, 0.5],
      ['60', 60],
      ['60.0', 60],
      ['500ms', 0.5],
      ['1.5s', 1.5],
      ['2m', 120],
      ['1h', 3600],
    ],
    [
      -1,
      '-1',
      '',
      ' ',
      '1 s',
      '1d',
      's',
      '1e3',
      '0x10',
      'Infinity',
      Number.NaN,
      Number.POSITIVE_INFINITY,
      '9999999999',
      null,
      true,
      [1],
    ],
  )
})

describe('a size in bytes', () => {
  table(
    size,
    [
      [0, 0],
      [1024, 1024],
      ['1024', 1024],
      ['10kb', 10_000],
      ['10KiB', 10_240],
      ['1.5 MiB', 1_572_864],
      ['1GB', 1e9],
      ['7b', 7],
    ],
    [-1, '', 'MiB', '1 TB', '1kbit', '-1kb', '1e3', '99999999999GiB', Number.NaN, null, {}],
  )
})

describe('a port', () => {
  table(
    port,
    [
      [0, 0],
      [8080, 8080],
      ['8080', 8080],
      [65_535, 65_535],
    ],
    [-1, 65_536, '65536', 1.5, '', ' 80', '80 ', '0x50', 'http', '123456', null],
  )
})

describe('a network', () => {
  table(
    network,
    [
      ['10.0.0.7', { address: '10.0.0.7', prefix: 32, family: 'ipv4' }],
      ['10.0.0.0/8', { address: '10.0.0.0', prefix: 8, family: 'ipv4' }],
      ['0.0.0.0/0', { address: '0.0.0.0', prefix: 0, family: 'ipv4' }],
      ['::1', { address: '::1', prefix: 128, family: 'ipv6' }],
      ['fd00::/8', { address: 'fd00::', prefix: 8, family: 'ipv6' }],
    ],
    [
      '',
      'localhost',
      '10.0.0',
      '10.0.0.256',
      '10.0.0.0/33',
      'fd00::/129',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '10.0.0.0/8 ',
      '*',
      7,
    ],
  )
})

describe('an origin', () => {
  table(
    origin,
    [
      ['https://app.example.com', 'https://app.example.com'],
      ['https://app.example.com/', 'https://app.example.com'],
      ['HTTPS://App.Example.com', 'https://app.example.com'],
      ['https://app.example.com:443', 'https://app.example.com'],
      ['http://localhost:3000', 'http://localhost:3000'],
      ['http://[::1]:3000', 'http://[::1]:3000'],
    ],
    [
      ...[
        '',
        '*',
        'null',
        'app.example.com',
        '//app.example.com',
        'https://',
        'https:///',
        'ftp://a.example',
        'file:///a',
      ],
      ...[
        'https://a.example/path',
        'https://a.example//',
        'https://a.example?x',
        'https://a.example#x',
        'https://u:p@a.example',
      ],
      ...[
        'https://*.example.com',
        'https://a.example,https://b.example',
        'javascript:alert(1)',
        'https://a.example:99999',
        null,
      ],
      ...['https://a.example\\b', 'https://a.example\\'],
    ],
  )
})

describe('an origin pattern', () => {
  const matches = (pattern: string, candidate: string): boolean => {
    const parsed = originPattern.safeParse(pattern)
    assert.ok(parsed.success, `${pattern} is refused`)
    return parsed.data.matches(candidate)
  }

  const preview = 'https://nyro-*-team.vercel.app'
  for (const [pattern, candidate, expected] of [
    [preview, 'https://nyro-git-main-team.vercel.app', true],
    [preview, 'https://nyro-x-team.vercel.app', true],
    [preview, 'https://nyro--team.vercel.app', false],
    [preview, 'http://nyro-x-team.vercel.app', false],
    [preview, 'https://nyro-x-team.vercel.app:8443', false],
    [preview, 'https://nyro-x-team.vercel.app.evil.example', false],
    [preview, 'https://evil.example/nyro-x-team.vercel.app', false],
    [preview, 'https://nyro-x.evil-team.vercel.app', false],
    [preview, 'https://nyro-x-teamxvercel.app', false],
    [preview, 'https://nyro-x@evil-team.vercel.app', false],
    [preview, 'https://nyro-x-team.vercel.app\n', false],
    [preview, 'xhttps://nyro-x-team.vercel.app', false],
    ['https://*.example.com', 'https://a.example.com', true],
    ['https://*.example.com', 'https://a.b.example.com', false],
    ['https://*.example.com', 'https://example.com', false],
    ['https://*.example.com', 'https://.example.com', false],
    ['https://*.example.com', 'https://evilexample.com', false],
    ['http://*.example.com:3000', 'http://a.example.com:3000', true],
    ['http://*.example.com:3000', 'http://a.example.com', false],
    ['HTTPS://*.Example.com', 'https://a.example.com', true],
  ] as const) {
    test(`${pattern} ${expected ? 'fits' : 'does not fit'} ${JSON.stringify(candidate)}`, () => {
      assert.equal(matches(pattern, candidate), expected)
    })
  }

  table(
    originPattern,
    [],
    [
      '*',
      'https://*',
      'https://*.com',
      'https://a.*',
      'https://a.*.com',
      'https://example.*',
      '*.example.com',
      'https://*.example.com/',
      'https://*.example.com/x',
      'ftp://*.example.com',
      'https://(.+).example.com',
      'https://[a-z].b.example.com',
      null,
    ],
  )

  test('fits no origin of another registered domain', () => {
    const label = fc.string({ unit: fc.constantFrom(...'abz09-.*\\/@:'), minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(label, label, (left, other) => {
        const parsed = originPattern.safeParse(`https://${left}.example.com`)
        if (!parsed.success || !URL.canParse(`https://${other}`)) return
        const candidate = new URL(`https://${other}`)
        assert.equal(
          parsed.data.matches(candidate.origin) && !candidate.hostname.endsWith('.example.com'),
          false,
        )
      }),
      { numRuns: 500 },
    )
  })
})

describe('a service URL', () => {
  table(
    serviceUrl,
    [
      ['http://ingest:8000', 'http://ingest:8000'],
      ['http://ingest:8000/', 'http://ingest:8000'],
      ['https://a.example/base//', 'https://a.example/base'],
      ['http://[::1]:8000', 'http://[::1]:8000'],
    ],
    [
      '',
      'ingest:8000',
      'localhost',
      '/path',
      'ftp://h',
      'http://',
      'http://u:p@h',
      'http://u@h',
      'http://h/#x',
      'http://h?x=1',
      'http://h:99999',
      'unix:/x',
      null,
    ],
  )
  test('of keys may have a query', () => {
    assert.equal(parse(httpUrl, 'https://a.example/jwks?x=1'), 'https://a.example/jwks?x=1')
  })
})

test('origin patterns of the same text are equal, as long as nothing else is', () => {
  const pattern = (text: string) => originPattern.parse(text)
  assert.deepEqual(pattern('https://app-*.example.com'), pattern('https://app-*.example.com'))
  assert.notDeepEqual(pattern('https://app-*.example.com'), pattern('https://*.example.com'))
})
