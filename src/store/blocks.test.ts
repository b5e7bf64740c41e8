import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Block, type BlockKind, rulingOf } from './block.ts'
import { Blocks } from './blocks.ts'

const FOREVER = Number.POSITIVE_INFINITY
const ANA = { userId: 'ana', companyId: 'acme', sessionId: 's1' }

const blockOf = (kind: BlockKind, id: string, over: Partial<Block> = {}): Block => ({
  kind,
  id,
  reason: `no ${kind}`,
  since: 1,
  until: FOREVER,
  ...over,
})

function blocked(...all: Block[]): Blocks {
  const blocks = new Blocks()
  for (const block of all) blocks.apply(rulingOf(block))
  return blocks
}

describe('whoever', () => {
  test('is not blocked passes', () => {
    const blocks = blocked(blockOf('company', 'ana'), blockOf('user', 's1'), blockOf('session', 'acme'))
    assert.equal(blocks.against(ANA), null)
    assert.equal(blocks.against({ userId: 'null', companyId: null, sessionId: null }), null)
    assert.equal(blocks.againstAddress('192.0.2.1'), null)
    assert.equal(new Blocks().against(ANA), null)
  })

  for (const [kind, id] of [
    ['company', 'acme'],
    ['user', 'ana'],
    ['session', 's1'],
  ] as const) {
    test(`belongs to a blocked ${kind} does not, until it is unblocked`, () => {
      const blocks = blocked(blockOf(kind, id))
      const { version } = blocks
      assert.equal(blocks.against(ANA)?.reason, `no ${kind}`)
      blocks.apply({ kind, id, at: 2, block: null })
      assert.notEqual(blocks.version, version)
      assert.equal(blocks.against(ANA), null)
      assert.equal(blocks.size, 0)
    })
  }

  test('has a hostile name is found by exactly that', () => {
    for (const id of ['__proto__', 'constructor', 'a:b', '\n', '"', ' ', 'é']) {
      const blocks = blocked(blockOf('user', id))
      assert.equal(blocks.against({ ...ANA, userId: id })?.id, id)
      assert.equal(blocks.against({ ...ANA, userId: 'toString' }), null)
    }
  })

  test('was blocked for a time passes when it is over', t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000 })
    const blocks = blocked(
      blockOf('user', 'ana', { until: 2_000 }),
      blockOf('ip', '192.0.2.1', { until: 2_000 }),
      blockOf('ip', '192.0.0.0/16', { until: 3_000 }),
    )
    assert.equal(blocks.against(ANA)?.kind, 'user')
    assert.equal(blocks.againstAddress('192.0.2.1')?.id, '192.0.2.1')
    t.mock.timers.setTime(2_000)
    assert.equal(blocks.against(ANA), null)
    assert.equal(blocks.againstAddress('192.0.2.1')?.id, '192.0.0.0/16', 'what was remembered is over')
    t.mock.timers.setTime(3_000)
    assert.equal(blocks.againstAddress('192.0.2.1'), null)
  })
})

describe('an address', () => {
  test('is found in whatever form it comes', () => {
    const blocks = blocked(blockOf('ip', '2001:db8::1'), blockOf('ip', '192.0.2.1'))
    for (const form of [
      '2001:DB8:0::1',
      '2001:db8::0001',
      '192.0.2.1',
      '::ffff:192.0.2.1',
      '::ffff:c000:201',
    ])
      assert.notEqual(blocks.againstAddress(form), null, form)
    for (const form of ['2001:db8::2', '192.0.2.2', '::192.0.2.1', '', 'unknown'])
      assert.equal(blocks.againstAddress(form), null, form)
  })

  test('is found in the smallest of its networks, and no longer when that is gone', () => {
    const blocks = blocked(
      blockOf('ip', '10.0.0.0/8'),
      blockOf('ip', '10.1.0.0/16'),
      blockOf('ip', '2001:db8::/32'),
    )
    assert.equal(blocks.againstAddress('10.1.2.3')?.id, '10.1.0.0/16')
    assert.equal(blocks.againstAddress('10.2.2.3')?.id, '10.0.0.0/8')
    assert.equal(blocks.againstAddress('2001:db8:ffff::1')?.id, '2001:db8::/32')
    blocks.apply({ kind: 'ip', id: '10.1.0.0/16', at: 2, block: null })
    assert.equal(blocks.againstAddress('10.1.2.3')?.id, '10.0.0.0/8')
    blocks.apply({ kind: 'ip', id: '10.0.0.0/8', at: 2, block: null })
    assert.equal(blocks.againstAddress('10.1.2.3'), null)
  })

  test('that passed is refused from the moment at which it is blocked', () => {
    const blocks = blocked(blockOf('ip', '192.0.2.9'))
    assert.equal(blocks.againstAddress('192.0.2.1'), null)
    blocks.apply(rulingOf(blockOf('ip', '192.0.2.0/24')))
    assert.equal(blocks.againstAddress('192.0.2.1')?.id, '192.0.2.0/24')
  })

  test('of a crowd is found, whoever else is remembered', () => {
    const blocks = blocked(blockOf('ip', '10.0.0.0/16'))
    for (let i = 0; i < 25_000; i++) {
      const ip = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
      assert.equal(blocks.againstAddress(ip)?.id, '10.0.0.0/16')
    }
  })
})
