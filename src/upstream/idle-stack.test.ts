import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { IdleStack, type Stacked } from './idle-stack.ts'

class Item implements Stacked {
  below: Stacked | null = null
  above: Stacked | null = null
  readonly name: number

  constructor(name: number) {
    this.name = name
  }
}

describe('a stack of idle connections', () => {
  test('does what a list does', () => {
    const step = fc.oneof(fc.constant('push' as const), fc.constant('pop' as const), fc.nat({ max: 30 }))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), steps => {
        const stack = new IdleStack<Item>()
        const list: Item[] = []
        const all: Item[] = []
        for (const step of steps) {
          if (step === 'push') {
            const item = new Item(all.length)
            all.push(item)
            stack.push(item)
            list.push(item)
          } else if (step === 'pop') assert.equal(stack.pop(), list.pop())
          else if (step < all.length) {
            // Also one that has left already
            const item = all[step]!
            stack.remove(item)
            const at = list.indexOf(item)
            if (at !== -1) list.splice(at, 1)
          }
          assert.equal(stack.size, list.length)
          assert.equal(stack.bottom, list[0] ?? null)
          assert.deepEqual(
            [...stack].map(({ name }) => name),
            list.map(({ name }) => name).reverse(),
          )
        }
      }),
    )
  })
})
