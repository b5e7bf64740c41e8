import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GatewayConfig } from '../config/schema.ts'
import { Board } from '../workers/board.ts'
import { describeLimits } from './limits-table.ts'

const SHARED = { limits: {}, redis: {} } as GatewayConfig

test('sums what all workers decided', () => {
  const board = Board.create(2)
  for (const id of [0, 1]) {
    board.counters.cell(id, 'limited').add(2)
    board.counters.cell(id, 'limitsLocal').add(3)
  }
  board.counters.cell(1, 'wouldBeLimited').add(1)
  const told = describeLimits({ limits: {} } as GatewayConfig, board)
  assert.deepEqual(told, {
    refused: 4,
    would_refuse: 1,
    redis: 'off',
    decided_locally: 6,
    redis_calls: 0,
    redis_waits: 0,
    overflows: 0,
  })
})

test('Redis is up when it is for all who serve', () => {
  const board = Board.create(3)
  board.setState(0, 'ready')
  board.setState(1, 'listening')
  board.counters.cell(0, 'redisUp').add(1)
  assert.equal(describeLimits(SHARED, board).redis, 'down')
  board.counters.cell(1, 'redisUp').add(1)
  assert.equal(describeLimits(SHARED, board).redis, 'up')
  board.clear(1)
  assert.equal(describeLimits(SHARED, board).redis, 'up', 'one that is gone says nothing')
})
