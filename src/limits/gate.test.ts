import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { settle } from '../edge/settle.ts'
import { reply } from '../exchange.ts'
import { Gate } from './gate.ts'
import type { Meter } from './meter.ts'
import { compileRule } from './rules.ts'

const COMMON = { by: 'company', limit: 1, window: 60 } as const

test('a request that a rule in dry run would have refused is not counted by it, whatever stands beside', () => {
  const charged: string[] = []
  const meterOf = (rule: Meter['rule'], taken: number): Meter => ({
    rule,
    take: () => taken,
    giveBack() {},
    charge: amount => charged.push(`${rule.name} ${amount}`),
  })
  const gate = new Gate(
    [
      meterOf(compileRule({ ...COMMON, name: 'trial', unit: 'requests', dryRun: true }, 'UTC'), -1_000),
      meterOf(compileRule({ ...COMMON, name: 'bytes', unit: 'bytesOut', dryRun: false }, 'UTC'), 0),
    ],
    { onViolated() {}, refuse: () => reply(429, []) },
  )
  const exchange = exchangeOf()
  assert.equal((gate.pass(exchange, () => reply(200, [])) as { status: number }).status, 200)
  exchange.bytesSent = 7
  settle(exchange, 'answered', [])
  assert.deepEqual(charged, ['bytes 7'])
})
