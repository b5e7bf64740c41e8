import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EventFollower, isEventStream, LastEvent } from './event-stream.ts'

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

describe('the last event', () => {
  const cases: [string, string, string][] = [
    ['nothing', '', ''],
    ['one event', 'data: {"a":1}\n\n', '{"a":1}'],
    ['the last of two', 'data: {"a":1}\n\ndata: {"a":2}\n\n', '{"a":2}'],
    ['that of JSON in front of a closing word', 'data: {"a":1}\n\ndata: [DONE]\n\n', '{"a":1}'],
    ['one without its empty line', 'data: {"a":1}', '{"a":1}'],
    ['lines joined', 'event: x\ndata: {"a":\ndata: 1}\nid: 7\n\n', '{"a":\n1}'],
    ['without the space', 'data:{"a":1}\n\n', '{"a":1}'],
    ['CR and LF', 'data: {"a":1}\r\n\r\ndata: {"a":2}\r\n\r\n', '{"a":2}'],
    ['CR alone', 'data: {"a":1}\r\rdata: {"a":2}\r\r', '{"a":2}'],
    ['letters of two bytes', 'data: {"a":"ñ"}\n\n', '{"a":"ñ"}'],
    ['comments between', ': ping\ndata: {"a":1}\n: ping\n\n', '{"a":1}'],
    ['no JSON at all', 'data: hello\n\n', ''],
  ]
  for (const [what, text, data] of cases) {
    test(`is found: ${what}, in whatever pieces it comes`, () => {
      const bytes = Buffer.from(text)
      for (let cut = 0; cut <= bytes.length; cut++) {
        const last = new LastEvent()
        last.follow(bytes.subarray(0, cut))
        last.follow(bytes.subarray(cut))
        assert.equal(last.take(), data)
      }
      const last = new LastEvent()
      for (const byte of bytes) last.follow(Buffer.from([byte]))
      assert.equal(last.take(), data)
    })
  }

  test('that is too long is not remembered, and does not stand in the way of the next', () => {
    const last = new LastEvent()
    for (let i = 0; i < 100; i++) last.follow(Buffer.from('x'.repeat(10_000)))
    last.follow(Buffer.from(`\n\ndata: {"a":"${'x'.repeat(70_000)}"}\n\n`))
    assert.equal(last.take(), '')
    last.follow(Buffer.from('data: {"a":1}\n\n'))
    assert.equal(last.take(), '{"a":1}')
  })
})
