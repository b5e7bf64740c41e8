/** Routes that differ in their methods only. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { startGateway } from './support/gateway.ts'

const says = (body: string) => ({ path: '/x', auth: 'none', respond: { body } })
const reader = { ...says('reader'), methods: ['GET'] }
const writer = { ...says('writer'), methods: ['POST', 'PUT'] }
const anyone = says('anyone')

let directory: ConfigDirectory

before(() => {
  directory = configDirectory()
})
after(() => directory?.remove())

describe('routes for one path', () => {
  const cases: [string, unknown[], Record<string, string | 405>][] = [
    ['share it by method', [reader, writer], { GET: 'reader', PUT: 'writer', DELETE: 405 }],
    [
      'yield to one for its method, listed first',
      [writer, anyone],
      { GET: 'anyone', POST: 'writer', PATCH: 'anyone' },
    ],
    [
      'yield to one for its method, listed last',
      [anyone, writer],
      { GET: 'anyone', POST: 'writer', PATCH: 'anyone' },
    ],
  ]
  for (const [index, [what, routes, expected]] of cases.entries()) {
    test(what, async () => {
      const file = directory.write(`${index}.json`, { routes })
      const gateway = await startGateway({ args: ['--config', file] })
      try {
        for (const [method, wanted] of Object.entries(expected)) {
          const answer = await send(`${gateway.url}/x`, { method })
          if (wanted === 405) {
            assert.equal(answer.status, 405)
            assert.match(answer.headers.allow ?? '', /GET.*POST|POST.*GET/)
          } else assert.equal(answer.text, wanted, method)
        }
      } finally {
        await gateway.stop()
      }
    })
  }
})
