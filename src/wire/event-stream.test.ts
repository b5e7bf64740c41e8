import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EventFollower, isEventStream } from './event-stream.ts'

describe('an event stream', () => {
  test('is known by its type, with parameters or without', () => {
    for (const type of ['text/event-stream', 'Text/Event-Stream; charset=utf-8', 'text/event-stream ;x=y'])
      assert.equal(isEventStream(type), true, type)
    for (const type of ['text/event-streams', 'text/plain', 'application/json; a=text/event-stream'])
      assert.equal(isEventStream(type), false, type)
    assert.equal(isEventStream(undefined), false)
  })
})

describe('who follows events', () => {
  const cases: [string, boolean, boolean][] = [
    ['', true, true],
    ['data: a', false, false],
    ['data: a\n', true, false],
    ['data: a\n\n', true, true],
    ['data: a\r\n', true, false],
    ['data: a\r\n\r\n', true, true],
    ['data: a\r\n\r', false, false],
    ['data: a\r', false, false],
    ['\n', true, true],
    [': ping\n', true, false],
    ['data: a\n\ndata: b', false, false],
  ]
  for (const [text, line, event] of cases) {
    test(`sees where ${JSON.stringify(text)} ends, in whatever pieces it comes`, () => {
      for (let cut = 0; cut <= text.length; cut++) {
        const pieces = [text.slice(0, cut), text.slice(cut)]
        for (const all of [pieces, [...text]]) {
          const follower = new EventFollower()
          for (const piece of all) follower.follow(Buffer.from(piece))
          assert.deepEqual([follower.atLine, follower.atEvent], [line, event])
        }
      }
    })
  }
})
