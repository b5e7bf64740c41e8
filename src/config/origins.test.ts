import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { loadConfig } from './load.ts'

const directory = mkdtempSync(join(tmpdir(), 'gateway-origins-'))
after(() => rmSync(directory, { recursive: true }))

/** Origins and patterns of a config file, or of none, with these variables; or the problems. */
async function origins(
  env: Record<string, string>,
  cors?: unknown,
): Promise<{ exact: readonly string[]; patterns: string[] } | string> {
  const file = cors === undefined ? undefined : join(directory, 'gateway.json')
  if (file !== undefined) writeFileSync(file, JSON.stringify({ cors, routes: [] }))
  const all = { GATEWAY_JWT_SECRET: 'a-shared-secret-of-more-than-32-bytes', ...env }
  const { config, problems } = await loadConfig({ file, env: all, directory, dotenv: false })
  if (config === null) return problems.map(({ place, message }) => `${place} ${message}`).join('\n')
  if (config.cors === false) return 'off'
  return { exact: config.cors.origins, patterns: config.cors.originPatterns.map(({ text }) => text) }
}

describe('allowed origins', () => {
  test('are the local one when nothing is said', async () => {
    assert.deepEqual(await origins({}), { exact: ['http://localhost:3000'], patterns: [] })
  })

  test('come from the list, the front end and the tunnel, which has both schemes', async () => {
    const list = { GATEWAY_CORS_ORIGINS: 'https://a.example, https://b.example' }
    assert.deepEqual(
      await origins({ ...list, VERCEL_FRONTEND_URL: 'https://c.example', NGROK_URL: 'https://d.example' }),
      {
        exact: [
          'https://a.example',
          'https://b.example',
          'https://c.example',
          'https://d.example',
          'http://d.example',
        ],
        patterns: [],
      },
    )
    assert.deepEqual(
      await origins({ GATEWAY_CORS_ORIGINS: 'https://a.example', NGROK_URL: 'http://d.example' }),
      {
        exact: ['https://a.example', 'http://d.example', 'https://d.example'],
        patterns: [],
      },
    )
  })

  test('with * in them are patterns, and never * alone', async () => {
    assert.deepEqual(await origins({ GATEWAY_CORS_ORIGINS: 'https://a-*.b.example,https://c.example' }), {
      exact: ['https://c.example'],
      patterns: ['https://a-*.b.example'],
    })
    assert.match(
      (await origins({ GATEWAY_CORS_ORIGINS: '*' })) as string,
      /^GATEWAY_CORS_ORIGINS has a wildcard/,
    )
  })

  test('of a file that names none are none', async () => {
    assert.deepEqual(await origins({}, { origins: [] }), { exact: [], patterns: [] })
    assert.deepEqual(await origins({}, { origins: ['https://a.example'] }), {
      exact: ['https://a.example'],
      patterns: [],
    })
  })

  test('are told under the variable that is at fault', async () => {
    assert.match(
      (await origins({ VERCEL_FRONTEND_URL: 'app.example' })) as string,
      /^VERCEL_FRONTEND_URL is no origin/,
    )
    assert.match(
      (await origins({ NGROK_URL: 'x' }, { origins: ['https://a.example'] })) as string,
      /^NGROK_URL is no origin/,
    )
  })
})
