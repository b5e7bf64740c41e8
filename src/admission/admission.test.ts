import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Admission } from './admission.ts'

const upstreams = (...names: string[]) => new Map(names.map(name => [`name ${name}`, { name }]))
const names = ({ view }: Admission) => view.map(({ name }) => name)

describe('over reloads the slots of an upstream', () => {
  test('are seen once its configuration has taken over', () => {
    const main = Admission.create(upstreams('a'), 1)
    main.add(upstreams('a', 'b'))
    assert.deepEqual(names(main), ['a'])
    main.show(upstreams('a', 'b'))
    assert.deepEqual(names(main), ['a', 'b'])
    main.show(new Map([['name a', { name: 'other' }]]))
    assert.deepEqual(names(main), ['other'])
  })

  test('that is gone are seen for as long as it has requests, and dropped at the next reload', () => {
    const main = Admission.create(upstreams('a', 'b'), 1)
    const worker = Admission.attach(main.buffers)
    const { slots } = worker.at('name b')!
    slots.limit = 1
    slots.take(0)
    main.add(upstreams('a'))
    main.show(upstreams('a'))
    assert.deepEqual(names(main), ['a', 'b'])
    main.add(upstreams('a'))
    worker.adopt(main.buffers)
    assert.ok(worker.at('name b'), 'it is in use')
    slots.give(0)
    slots.count(0, 1)
    assert.deepEqual(names(main), ['a', 'b'])
    slots.count(0, -1)
    assert.deepEqual(names(main), ['a'])
    main.add(upstreams('a'))
    worker.adopt(main.buffers)
    assert.equal(worker.at('name b'), null)
    assert.ok(worker.at('name a'))
  })

  test('that comes back are the same while it has requests, and all workers have the same', () => {
    const main = Admission.create(upstreams('a'), 1)
    const worker = Admission.attach(main.buffers)
    const { slots } = main.at('name a')!
    slots.limit = 1
    for (const next of [upstreams(), upstreams('a')]) {
      slots.take(0)
      main.add(next)
      main.show(next)
      worker.adopt(main.buffers)
    }
    assert.equal(worker.at('name a')!.slots.view.inUse, 1)
    slots.give(0)
    for (const next of [upstreams(), upstreams('b'), upstreams('a')]) {
      main.add(next)
      main.show(next)
      worker.adopt(main.buffers)
    }
    assert.equal(worker.at('name a')!.slots.buffer, main.at('name a')!.slots.buffer)
    assert.notEqual(main.at('name a')!.slots, slots)
  })

  test('of a configuration that does not take over after all are dropped as well', () => {
    const main = Admission.create(upstreams('a'), 1)
    main.add(upstreams('a', 'b'))
    main.add(upstreams('a'))
    assert.equal(main.at('name b'), null)
  })
})
