import assert from 'node:assert/strict'
import { pbkdf2 } from 'node:crypto'
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openLog, openOutput } from './log.ts'

test('the last lines do not overtake those that are being written', async context => {
  const directory = mkdtempSync(join(tmpdir(), 'log-'))
  context.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'log')
  const output = openOutput(openSync(file, 'a'))
  const log = openLog({ level: 'info', format: 'json' }, output)
  await delay(10)
  // The system library's threads are busy: an asynchronous write has to wait for one of them
  for (let i = 0; i < 8; i++) pbkdf2('a', 'b', 20_000, 32, 'sha512', () => {})
  output.write('first\n')
  log.writeLine('second\n')
  await log.finish()
  assert.equal(readFileSync(file, 'utf8'), 'first\nsecond\n')
})
