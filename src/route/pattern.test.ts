import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseHost, parsePattern } from './pattern.ts'

const literal = (text: string) => ({ kind: 'static', text })
const parameter = (name: string) => ({ kind: 'parameter', name })
const wildcard = { kind: 'wildcard' }

describe('a path pattern', () => {
  const patterns: [string, unknown[]][] = [
    ['/', []],
    ['/*', [wildcard]],
    ['/a', [literal('a')]],
    ['/a/', [literal('a')]],
    ['/a/*', [literal('a'), wildcard]],
    ['/api/{v}/items/{item_id}', [literal('api'), parameter('v'), literal('items'), parameter('item_id')]],
    ['/.well-known/x.json', [literal('.well-known'), literal('x.json')]],
    ['/café', [literal('café')]],
    ['/{_a1}/*', [parameter('_a1'), wildcard]],
  ]
  for (const [pattern, segments] of patterns) {
    test(`is read: ${pattern}`, () => assert.deepEqual(parsePattern(pattern), segments))
  }

  const faults = [
    ...[
      '',
      'a',
      'a/b',
      '*',
      '//',
      '/a//b',
      '/a?b',
      '/a#b',
      '/a\\b',
      '/a b',
      '/a\tb',
      '/*/a',
      '/a/*/*',
      '/a*',
      '/*.js',
    ],
    ...[
      '/{',
      '/}',
      '/{}',
      '/{a',
      '/a{b}',
      '/{a}b',
      '/{a}{b}',
      '/{1a}',
      '/{a-b}',
      '/{a}/{a}',
      '/a%20b',
      '/.',
      '/..',
      '/a/../b',
    ],
  ]
  for (const pattern of faults) {
    test(`is refused in words: ${JSON.stringify(pattern)}`, () => {
      const fault = parsePattern(pattern)
      assert.equal(typeof fault, 'string')
      assert.match(fault as string, /^(?:must|has|uses) /)
    })
  }
})

describe('a host pattern', () => {
  test('is exact or a wildcard label in front, in lower case', () => {
    assert.deepEqual(parseHost('API.example.com'), { exact: 'api.example.com' })
    assert.deepEqual(parseHost('*.Example.com'), { suffix: '.example.com' })
    assert.deepEqual(parseHost('localhost'), { exact: 'localhost' })
  })

  for (const host of [
    '',
    '*',
    '*.',
    'a.*.com',
    'a*.com',
    'h:80',
    'http://h',
    'h/x',
    'a b',
    '*.*.com',
    '**.a.com',
  ]) {
    test(`is refused: ${JSON.stringify(host)}`, () => assert.equal(parseHost(host), null))
  }
})
