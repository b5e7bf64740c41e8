import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { takeParameters } from './query.ts'

const NAMES: ReadonlySet<string> = new Set(['ticket', 'access_token'])

describe('parameters that are taken out of a query', () => {
  const cases: [string, string, string[]][] = [
    ['', '', []],
    ['?', '?', []],
    ['?a=1&b=2', '?a=1&b=2', []],
    ['?ticket=x', '', ['ticket', 'x']],
    ['?ticket', '', ['ticket', '']],
    ['?ticket=', '', ['ticket', '']],
    ['?ticket=a=b', '', ['ticket', 'a=b']],
    ['?a=1&ticket=x&b=2', '?a=1&b=2', ['ticket', 'x']],
    ['?ticket=x&a', '?a', ['ticket', 'x']],
    ['?a&ticket=x', '?a', ['ticket', 'x']],
    ['?ticket=x&ticket=y', '', ['ticket', 'x', 'ticket', 'y']],
    ['?access_token=t&ticket=x&c', '?c', ['access_token', 't', 'ticket', 'x']],
    ['?%74icket=%41', '', ['ticket', 'A']],
    ['?access%5Ftoken=a+b', '', ['access_token', 'a b']],
    ['?ticket=%', '', ['ticket', '%']],
    // Every other byte stays, however odd
    ['?&&ticket=x&&', '?&&&', ['ticket', 'x']],
    ['?a=%2f+%20&=&ticket=x&%ff=%', '?a=%2f+%20&=&%ff=%', ['ticket', 'x']],
    // Other names
    ['?tickets=1&Ticket=2&xticket=3&a=ticket', '?tickets=1&Ticket=2&xticket=3&a=ticket', []],
    ['?ticket[]=1&a;ticket=2', '?ticket[]=1&a;ticket=2', []],
  ]
  for (const [query, rest, taken] of cases) {
    test(query === '' ? '(none)' : query, () =>
      assert.deepEqual(takeParameters(query, NAMES), { rest, taken }),
    )
  }
})
