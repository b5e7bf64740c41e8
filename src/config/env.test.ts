import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { nearest, OTHER_SETTINGS, readEnvironment, SETTINGS } from './env.ts'

const optionsOf = (environment: Record<string, string>) => readEnvironment(environment).options

describe('the environment', () => {
  test('says nothing when it is empty, or has nothing of the gateway in it', () => {
    assert.deepEqual(optionsOf({}), {})
    assert.deepEqual(
      optionsOf({ PATH: '/bin', GATEWAY_SERVICE_HOST: '10.0.0.1', GATEWAY_PORT_8080_TCP: 'tcp://x' }),
      {},
    )
  })

  test('is read under the names of the first gateway', () => {
    assert.deepEqual(
      optionsOf({
        PORT: '8081',
        GATEWAY_PROJECT_NAME: 'Nyro',
        GATEWAY_LOG_LEVEL: 'WARNING',
        GATEWAY_JWT_SECRET: 's',
        GATEWAY_JWT_ALGORITHM: 'HS256',
        GATEWAY_HTTP_CLIENT_TIMEOUT: '60.0',
        GATEWAY_HTTP_CLIENT_MAX_CONNECTIONS: '200',
        GATEWAY_HTTP_CLIENT_MAX_KEEPALIAS_CONNECTIONS: '40',
      }),
      {
        server: { port: '8081' },
        name: 'Nyro',
        log: { level: 'warning' },
        identity: { secret: 's', algorithm: 'HS256' },
        client: {
          timeouts: { firstByte: '60.0', idle: '60.0' },
          maxConnections: 200,
          maxIdleConnections: 40,
        },
      },
    )
  })

  test('has both spellings of the idle connections; the right one wins', () => {
    const wrong = 'GATEWAY_HTTP_CLIENT_MAX_KEEPALIAS_CONNECTIONS'
    const right = 'GATEWAY_HTTP_CLIENT_MAX_KEEPALIVE_CONNECTIONS'
    assert.deepEqual(optionsOf({ [wrong]: '4' }), { client: { maxIdleConnections: 4 } })
    assert.deepEqual(optionsOf({ [right]: '5' }), { client: { maxIdleConnections: 5 } })
    assert.deepEqual(optionsOf({ [wrong]: '4', [right]: '5' }), { client: { maxIdleConnections: 5 } })
    assert.equal(readEnvironment({ [wrong]: 'x' }).origins.get('client.maxIdleConnections'), wrong)
    assert.equal(readEnvironment({ [right]: 'x' }).origins.get('client.maxIdleConnections'), right)
  })

  test('is read in any letter case; the exact spelling wins', () => {
    assert.deepEqual(optionsOf({ gateway_host: '::1' }), { server: { host: '::1' } })
    for (const environment of [
      { gateway_host: 'a', GATEWAY_HOST: 'b' },
      { GATEWAY_HOST: 'b', Gateway_Host: 'a' },
    ]) {
      assert.deepEqual(optionsOf(environment), { server: { host: 'b' } })
    }
  })

  test('does not count an empty variable as set, but for the secret', () => {
    for (const name of [...Object.keys(SETTINGS), ...Object.keys(OTHER_SETTINGS)]) {
      const expected = name === 'GATEWAY_JWT_SECRET' ? { identity: { secret: '' } } : {}
      assert.deepEqual(optionsOf({ [name]: '' }), expected, name)
    }
  })

  test('knows the variable that each setting came from', () => {
    for (const [name, { path }] of Object.entries(SETTINGS)) {
      const { options, origins } = readEnvironment({ [name]: '7' })
      assert.equal(origins.get(path.join('.')), name)
      assert.notDeepEqual(options, {}, name)
    }
  })

  test('lists are separated by commas, with space around them', () => {
    assert.deepEqual(optionsOf({ GATEWAY_TRUSTED_PROXIES: ' 10.0.0.0/8 ,, ::1,' }), {
      server: { trustedProxies: ['10.0.0.0/8', '::1'] },
    })
    assert.deepEqual(optionsOf({ GATEWAY_JWT_ISSUER: 'a, b' }), { identity: { issuer: ['a', 'b'] } })
  })

  test('turns the admin port off in any letter case', () => {
    assert.deepEqual(optionsOf({ GATEWAY_ADMIN_PORT: ' OFF ' }), { admin: { port: 'off' } })
    assert.deepEqual(optionsOf({ GATEWAY_ADMIN_PORT: '9902' }), { admin: { port: '9902' } })
  })
})

describe('a misspelled variable', () => {
  test('is told with the one that was meant', () => {
    const { suspicious } = readEnvironment({
      GATEWAY_JWKS_URI: 'x',
      GATEWAY_CORS_ORIGIN: 'x',
      GATEWAY_HOST: 'x',
    })
    assert.deepEqual(suspicious, [
      { name: 'GATEWAY_JWKS_URI', meant: 'GATEWAY_JWKS_URL' },
      { name: 'GATEWAY_CORS_ORIGIN', meant: 'GATEWAY_CORS_ORIGINS' },
    ])
  })

  test('is not every variable of a cluster', () => {
    const names = [
      'GATEWAY_SERVICE_HOST',
      'GATEWAY_SERVICE_PORT',
      'GATEWAY_PORT_80_TCP_ADDR',
      'HOST',
      'JWT_SECRET',
    ]
    assert.deepEqual(readEnvironment(Object.fromEntries(names.map(name => [name, 'x']))).suspicious, [])
  })

  test('is at most two edits away, and the nearest counts', () => {
    assert.equal(nearest('paht', ['path', 'host']), 'path')
    assert.equal(nearest('pathes', ['pathe', 'path']), 'pathe')
    assert.equal(nearest('abc', ['xyz']), null)
    assert.equal(nearest('', ['abc']), null)
    assert.equal(nearest('METHODS', ['methods']), 'methods')
  })
})
