import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { settle } from '../edge/settle.ts'
import { reply } from '../exchange.ts'
import { Gate, Terms } from './gate.ts'
import type { Meter } from './meter.ts'
import { compileRule, type Rule } from './rules.ts'

const COMMON = { by: 'company', limit: 1, window: 60 } as const

test('a request that a rule in dry run would have refused is not counted by it, whatever stands beside', () => {
  const charged: string[] = []
  const meterOf = (rule: Rule, taken: number): Meter => ({
    rule,
    take: () => taken,
    giveBack() {},
    charge: amount => charged.push(`${rule.name} ${amount}`),
  })
  const trial = compileRule({ ...COMMON, name: 'trial', unit: 'requests', dryRun: true }, 'UTC')
  const bytes = compileRule({ ...COMMON, name: 'bytes', unit: 'bytesOut', dryRun: false }, 'UTC')
  const terms = new Terms([trial, bytes], { onViolated() {}, refuse: () => reply(429, []) })
  const gate = new Gate(terms, [meterOf(trial, -1_000), meterOf(bytes, 0)])
  const exchange = exchangeOf()
  assert.equal((gate.pass(exchange, () => reply(200, [])) as { status: number }).status, 200)
  exchange.bytesSent = 7
  settle(exchange, 'answered', [])
  assert.deepEqual(charged, ['bytes 7'])
})
