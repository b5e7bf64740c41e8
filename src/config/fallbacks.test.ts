import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadConfig } from './load.ts'
import type { GatewayOptions } from './schema.ts'

const SECRET = 'a secret of at least thirty-two bytes'
const respond = { status: 200 }

async function warningsOf(routes: NonNullable<GatewayOptions['routes']>): Promise<readonly string[]> {
  const loaded = await loadConfig({ options: { routes }, env: { GATEWAY_JWT_SECRET: SECRET }, dotenv: false })
  assert.deepEqual(loaded.problems, [])
  return loaded.warnings
}

describe('a route for some methods', () => {
  test('warns when the others fall to a public route', async () => {
    const [warning, ...more] = await warningsOf([
      { path: '/admin/{id}', methods: ['GET'], respond },
      { path: '/*', auth: 'none', respond },
    ])
    assert.match(
      warning ?? '',
      /^routes\[0\] guards \/admin\/\{id\} for GET only: POST, .*falls to routes\[1\]/,
    )
    assert.doesNotMatch(warning ?? '', /only: .*(GET|HEAD)/)
    assert.deepEqual(more, [])
  })
  test('does not when they fall to a route with the same guard', async () => {
    assert.deepEqual(
      await warningsOf([
        { path: '/a', methods: ['GET'], respond },
        { path: '/*', respond },
      ]),
      [],
    )
  })
  test('does not when they fall to none', async () => {
    assert.deepEqual(await warningsOf([{ path: '/a', methods: ['GET'], respond }]), [])
  })
  test('does not when it is public itself', async () => {
    const routes = [
      { path: '/a', methods: ['GET'], auth: 'none' as const, respond },
      { path: '/*', respond },
    ]
    assert.deepEqual(await warningsOf(routes), [])
  })
})
