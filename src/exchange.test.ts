import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { exchangeOf } from '../test/support/exchange.ts'
import { settle } from './edge/settle.ts'
import { compose, json, type Policy, reply } from './exchange.ts'
import { UpstreamHeaders } from './wire/upstream-headers.ts'

describe('an exchange', () => {
  test('has the raw path and query of its target', () => {
    for (const [target, path, query] of [
      ['/a/b', '/a/b', ''],
      ['/a?b=c?d', '/a', '?b=c?d'],
      ['/a?', '/a', '?'],
      ['/?', '/', '?'],
      ['/%3f?x', '/%3f', '?x'],
    ] as const) {
      const exchange = exchangeOf({ target })
      assert.deepEqual([exchange.rawPath, exchange.query], [path, query])
    }
  })

  test('tells the one that works for it, once, that the client left', () => {
    const exchange = exchangeOf()
    const told: string[] = []
    exchange.onAbort({ abort: () => told.push('first') })
    exchange.onAbort({ abort: () => told.push('second') })
    exchange.abort()
    exchange.abort()
    assert.deepEqual(told, ['second'])
    assert.equal(exchange.aborted, true)
  })
})

describe('the end of an exchange', () => {
  test('is told once, to all, the last one first', () => {
    const exchange = exchangeOf()
    const told: string[] = []
    exchange.onEnd(() => told.push('first'))
    exchange.onEnd(ended => told.push(`second ${ended.outcome}`))
    settle(exchange, 'answered', [() => told.push('observer')])
    settle(exchange, 'broken', [])
    assert.deepEqual(told, ['second answered', 'first', 'observer'])
  })

  test('is told at once to whoever asks too late', () => {
    const exchange = exchangeOf()
    settle(exchange, 'client_gone', [])
    const told: string[] = []
    exchange.onEnd(({ outcome }) => told.push(String(outcome)))
    assert.deepEqual(told, ['client_gone'])
  })

  test('is told to all, whatever one of them throws, and the fault comes to light', async () => {
    const fault = new Error('broken')
    // The runner has a listener of its own, to which this fault is not meant
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    try {
      const escaped = once(process, 'uncaughtException')
      const exchange = exchangeOf()
      const told: string[] = []
      exchange.onEnd(() => told.push('first'))
      exchange.onEnd(() => {
        throw fault
      })
      settle(exchange, 'answered', [() => told.push('observer')])
      assert.deepEqual(told, ['first', 'observer'])
      assert.equal((await escaped)[0], fault)
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener)
    }
  })
})

describe('a chain of policies', () => {
  const named =
    (name: string, trace: string[]): Policy =>
    (exchange, next) => {
      trace.push(name)
      const answer = next(exchange)
      assert.ok(!(answer instanceof Promise))
      trace.push(`/${name}`)
      return answer
    }

  test('goes down in list order and comes back up, without a promise of its own', () => {
    const trace: string[] = []
    const handle = compose([named('a', trace), named('b', trace)], () => {
      trace.push('terminal')
      return reply(204, [])
    })
    assert.ok(!(handle(exchangeOf()) instanceof Promise))
    assert.deepEqual(trace, ['a', 'b', 'terminal', '/b', '/a'])
  })

  test('ends where a policy answers', async () => {
    const handle = compose([() => reply(403, [])], () => assert.fail('went on'))
    assert.equal((await handle(exchangeOf())).status, 403)
  })

  test('of none is its end', async () => {
    assert.equal((await compose([], () => reply(204, []))(exchangeOf())).status, 204)
  })
})

describe('a reply', () => {
  test('knows its length in bytes', () => {
    assert.equal(reply(200, [], 'é').contentLength, 2)
    assert.equal(reply(204, []).contentLength, 0)
    assert.equal(json(200, { é: 1 }).contentLength, Buffer.byteLength('{"é":1}'))
  })
})

describe('headers for the upstream', () => {
  test('replace those of the same name, however spelled', () => {
    const headers = new UpstreamHeaders()
    headers.set('X-A', '1')
    headers.set('X-B', '2')
    headers.set('x_a', '3')
    assert.equal(headers.lines, 'X-B: 2\r\nx_a: 3\r\n')
    assert.deepEqual(headers.names, new Set(['x-a', 'x-b']))
  })

  test('can be removed, lines of the gateway too, one or all', () => {
    const headers = new UpstreamHeaders()
    headers.append('X-Company-ID: acme\r\nX-User-ID: u\r\n')
    headers.remove('x-company-id')
    assert.equal(headers.lines, 'X-User-ID: u\r\n')
    headers.remove('X-User-ID')
    assert.equal(headers.lines, '')
    headers.set('X-A', '1')
    assert.equal(headers.lines, 'X-A: 1\r\n')
  })

  test('are refused when they would break the message, and change nothing then', () => {
    const headers = new UpstreamHeaders()
    headers.set('X-A', '1')
    for (const [name, value] of [
      ['X-A', 'a\r\nX-B: b'],
      ['X-A', 'a\nb'],
      ['X-A', '\u0100'],
      ['X-A\r\nX-B', 'b'],
      ['X A', 'b'],
      ['', 'b'],
    ] as const) {
      assert.throws(() => headers.set(name, value), TypeError)
    }
    assert.equal(headers.lines, 'X-A: 1\r\n')
  })
})
