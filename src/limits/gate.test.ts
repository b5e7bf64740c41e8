import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate as immediate } from 'node:timers/promises'
import { exchangeOf } from '../../test/support/exchange.ts'
import { settle } from '../edge/settle.ts'
import { reply } from '../exchange.ts'
import { Gate, Terms } from './gate.ts'
import type { Meter, Taken } from './meter.ts'
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

describe('meters whose state is elsewhere', () => {
  /** Each answers when it is told to. */
  function gateOf(...names: string[]) {
    const done: string[] = []
    const answers = new Map<string, (taken: Taken) => void>()
    const meters = names.map((name): Meter => {
      const dryRun = name.startsWith('trial')
      return {
        rule: compileRule({ ...COMMON, name, unit: 'requests', dryRun }, 'UTC'),
        take: () => {
          done.push(`asked ${name}`)
          const { promise, resolve } = Promise.withResolvers<Taken>()
          answers.set(name, resolve)
          return name.startsWith('near') ? 0 : promise
        },
        giveBack: amount => done.push(`gave back ${amount} to ${name}`),
        charge() {},
      }
    })
    const refuse = (_: unknown, { name }: Rule, wait: number) => reply(429, [name, String(wait)])
    const events = { onViolated: (enforced: boolean) => void done.push(`violated ${enforced}`), refuse }
    const rules = meters.map(({ rule }) => rule)
    const gate = new Gate(new Terms(rules, events), meters)
    return { gate, done, answer: (name: string, taken: Taken) => answers.get(name)!(taken) }
  }

  test('are asked together', async () => {
    const { gate, done, answer } = gateOf('near', 'a', 'b', 'c')
    const exchange = exchangeOf()
    const passed = gate.pass(exchange, () => reply(200, []))
    assert.deepEqual(done, ['asked near', 'asked a', 'asked b', 'asked c'])
    for (const name of ['c', 'a', 'b']) answer(name, 0)
    assert.equal((await passed).status, 200)
    assert.ok(exchange.waitedForLimits > 0)
  })

  test('the first in order that refuses does so for all, and the others get back what they granted', async () => {
    const { gate, done, answer } = gateOf('near', 'trial', 'a', 'b', 'c', 'd')
    const exchange = exchangeOf()
    const passed = gate.pass(exchange, () => reply(200, []))
    done.length = 0
    answer('trial', -1)
    answer('a', 0)
    answer('c', -3_000)
    answer('d', 0)
    await immediate()
    assert.deepEqual(done, [], 'it is not known yet who refuses')
    answer('b', -2_000)
    assert.deepEqual((await passed).headers, ['b', '2'])
    assert.deepEqual(exchange.violated, ['trial', 'b'])
    assert.deepEqual(done, [
      'violated false',
      'violated true',
      'gave back 1 to near',
      'gave back 1 to a',
      'gave back 1 to d',
    ])
    assert.match(exchange.limitFields.join(), /"b";r=0;t=2/)
    assert.doesNotMatch(exchange.limitFields[3]!, /"[cd]"/, 'what others hold is not told: it changes')
  })
})
