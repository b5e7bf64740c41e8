import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fixedOf, restartKeys, withFixed } from './fixed.ts'
import { type GatewayOptions, gatewaySchema } from './schema.ts'

const parsed = (options: GatewayOptions) => gatewaySchema.parse(options)

test('what needs a restart is named by its keys, and nothing else is', () => {
  const running = parsed({
    server: { port: 8080, tls: { cert: 'a', key: 'b' } },
    log: { level: 'info' },
    usage: {},
  })
  const wanted = parsed({
    server: { port: 8081, workers: 2, sendTimeout: 5, tls: { cert: 'a', key: 'c' } },
    admin: { port: 'off' },
    log: { level: 'debug', format: 'json' },
    usage: { flush: 5 },
  })
  assert.deepEqual(restartKeys(fixedOf(running), fixedOf(wanted)), [
    'server.port',
    'server.workers',
    'server.tls.key',
    'admin.port',
    'log.format',
    'usage.flush',
  ])
  assert.deepEqual(restartKeys(fixedOf(running), fixedOf(withFixed(wanted, fixedOf(running)))), [])
})

test('the memory of limits is made at the start, however many keys are wanted later', () => {
  const without = fixedOf(parsed({}))
  const small = fixedOf(parsed({ limits: { maxKeys: 5_000 } }))
  assert.deepEqual(restartKeys(without, fixedOf(parsed({ limits: {} }), without)), [])
  assert.deepEqual(restartKeys(small, fixedOf(parsed({ limits: {} }), small)), ['limits.maxKeys'])
  assert.deepEqual(restartKeys(small, fixedOf(parsed({}), small)), [])
  assert.equal(withFixed(parsed({ limits: {} }), small).limits?.maxKeys, 5_000)
})

test('TLS that comes or goes is one key', () => {
  const without = parsed({})
  const having = parsed({ server: { tls: { cert: 'a', key: 'b' } } })
  assert.deepEqual(restartKeys(fixedOf(without), fixedOf(having)), ['server.tls'])
  assert.deepEqual(restartKeys(fixedOf(having), fixedOf(without)), ['server.tls'])
})

test('what can change does, beside what cannot', () => {
  const running = parsed({ server: { host: '127.0.0.1', drainTimeout: 9 }, name: 'before' })
  const wanted = parsed({ server: { host: '0.0.0.0', drainTimeout: 8 }, name: 'after' })
  const { name, server } = withFixed(wanted, fixedOf(running))
  assert.deepEqual([name, server.host, server.drainTimeout], ['after', '127.0.0.1', 8])
})
