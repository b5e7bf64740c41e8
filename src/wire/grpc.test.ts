import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { encodeMessage, formatTimeout, isGrpcType, parseTimeout } from './grpc.ts'

describe('a content type', () => {
  test('is one of gRPC, in every coding of its messages', () => {
    for (const type of ['application/grpc', 'application/grpc+proto', 'Application/GRPC;charset=x'])
      assert.ok(isGrpcType(type), type)
  })

  test('of something else is not', () => {
    assert.ok(!isGrpcType(undefined))
    for (const type of ['', 'application/grpc-web', 'application/grpc-web+proto', 'application/grpcs'])
      assert.ok(!isGrpcType(type), type)
  })
})

describe('a timeout', () => {
  test('is read in each unit', () => {
    assert.deepEqual(
      ['2H', '2M', '2S', '2m', '2u', '2000n', '0m', '99999999S'].map(parseTimeout),
      [7_200_000, 120_000, 2_000, 2, 0.002, 0.002, 0, 99_999_999_000],
    )
  })

  test('that is none is told from those that are', () => {
    for (const text of ['', 'm', '1', '1s', '-1m', '1.5m', ' 1m', '1m ', '123456789m', '1mm'])
      assert.equal(parseTimeout(text), null, text)
  })

  test('is written short enough, never longer than it is, and hardly shorter', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 99_999_999 * 3_600_000, noNaN: true }), time => {
        const text = formatTimeout(time)
        assert.match(text, /^\d{1,8}[HMSmun]$/)
        const read = parseTimeout(text)!
        assert.ok(read <= time * (1 + 1e-9), `${text} is longer than ${time}`)
        // Whole microseconds, or five digits at least
        assert.ok(time - read <= Math.max(0.001, time / 50_000), `${text} is shorter than ${time}`)
      }),
    )
    assert.equal(formatTimeout(-1), '0u')
  })
})

describe('a message', () => {
  test('is percent-encoded where it has to be', () => {
    assert.equal(
      encodeMessage('The deadline of the call has passed.'),
      'The deadline of the call has passed.',
    )
    assert.equal(encodeMessage('100 %\r\ngrpc-status: 0 ñ'), '100 %25%0D%0Agrpc-status: 0 %C3%B1')
  })

  test('comes back as it was, in what a field can carry', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), text => {
        const encoded = encodeMessage(text)
        assert.match(encoded, /^[\x20-\x7e]*$/)
        assert.equal(decodeURIComponent(encoded), text)
      }),
    )
  })
})
