import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { closeFrame, FrameFollower } from './websocket-frames.ts'

interface Frame {
  readonly opcode: number
  readonly fin: boolean
  readonly masked: boolean
  readonly size: number
}

/** A frame, with its length in as many bytes as it needs, or in more. */
function encode(
  { opcode, fin, masked, size }: Frame,
  payload = Buffer.alloc(size, 0x61),
  widest = false,
): Buffer {
  const first = (fin ? 0x80 : 0) | opcode
  const mask = masked ? 0x80 : 0
  const header =
    size < 126 && !widest
      ? Buffer.from([first, mask | size])
      : size < 65_536 && !widest
        ? Buffer.from([first, mask | 126, size >> 8, size & 0xff])
        : Buffer.concat([Buffer.from([first, mask | 127]), wide(size)])
  const key = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const body = Buffer.from(payload)
  if (masked) for (let i = 0; i < body.length; i++) body[i]! ^= key[i % 4]!
  return Buffer.concat([header, key, body])
}

function wide(size: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(size))
  return bytes
}

/** Follows bytes in the given pieces, each in a buffer that is overwritten behind the call. */
function follow(follower: FrameFollower, bytes: Buffer, cuts: readonly number[]): number {
  const places = [...new Set(cuts.map(cut => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  let at = 0
  for (const end of [...places, bytes.length]) {
    const shared = Buffer.concat([Buffer.from('xx'), bytes.subarray(at, end), Buffer.from('yy')])
    const stop = follower.follow(shared, 2, 2 + end - at)
    shared.fill(0xff)
    if (stop !== 2 + end - at) return at + stop - 2
    at = end
  }
  return at
}

const frames = fc.array(
  fc.record({
    opcode: fc.constantFrom(0, 1, 2, 9, 10, 3, 15),
    fin: fc.boolean(),
    masked: fc.boolean(),
    size: fc.oneof(fc.integer({ min: 0, max: 130 }), fc.integer({ min: 65_530, max: 65_540 })),
  }),
  { maxLength: 12 },
)

describe('who follows frames', () => {
  test('finds their ends, in whatever pieces they come', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 8 }), fc.boolean(), (all, cuts, widest) => {
        const bytes = Buffer.concat(all.map(frame => encode(frame, undefined, widest)))
        const follower = new FrameFollower(1 << 20)
        assert.equal(follow(follower, bytes, cuts), bytes.length)
        assert.equal(follower.atBoundary, true)
        assert.equal(follower.closeCode, 0)
      }),
    )
  })

  test('is at no boundary within a frame', () => {
    const bytes = encode({ opcode: 1, fin: true, masked: true, size: 5 })
    for (let length = 1; length < bytes.length; length++) {
      const follower = new FrameFollower(1_000)
      follow(follower, bytes.subarray(0, length), [])
      assert.equal(follower.atBoundary, false, `behind ${length} bytes`)
    }
  })

  test('reads the code of the first close frame, masked or not, in whatever pieces', () => {
    for (const masked of [true, false]) {
      const first = encode(
        { opcode: 8, fin: true, masked, size: 5 },
        Buffer.from([0x0f, 0xa1, 0x62, 0x79, 0x65]),
      )
      const second = encode({ opcode: 8, fin: true, masked, size: 2 }, Buffer.from([0x03, 0xe8]))
      const bytes = Buffer.concat([first, second])
      for (let cut = 0; cut <= bytes.length; cut++) {
        const follower = new FrameFollower(1_000)
        follow(follower, bytes, [cut])
        assert.equal(follower.closeCode, 4001)
      }
    }
  })

  test('takes a close frame without a code for 1005', () => {
    for (const size of [0, 1]) {
      const follower = new FrameFollower(1_000)
      follow(follower, encode({ opcode: 8, fin: true, masked: true, size }), [])
      assert.equal(follower.closeCode, 1005)
    }
  })

  const small = encode({ opcode: 1, fin: true, masked: true, size: 3 })

  test('stops in front of a frame that is too large', () => {
    for (const size of [101, 70_000, 2 ** 40]) {
      const large = encode({ opcode: 2, fin: true, masked: true, size }, Buffer.alloc(10))
      const follower = new FrameFollower(100)
      assert.equal(follow(follower, Buffer.concat([small, large]), []), small.length)
      assert.equal(follower.atBoundary, true)
    }
  })

  test('is never at a boundary again when the beginning of such a frame has passed', () => {
    const large = encode({ opcode: 2, fin: true, masked: true, size: 70_000 }, Buffer.alloc(10))
    const follower = new FrameFollower(100)
    follow(follower, Buffer.concat([small, large]), [small.length + 3])
    assert.equal(follower.atBoundary, false)
  })

  test('lets a frame of the largest size pass, whatever its length announces beyond 2^53', () => {
    const follower = new FrameFollower(100)
    assert.equal(follow(follower, encode({ opcode: 2, fin: true, masked: false, size: 100 }), []), 102)
    const absurd = Buffer.from([0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    assert.equal(new FrameFollower(Number.MAX_SAFE_INTEGER).follow(absurd, 0, absurd.length), 0)
  })
})

describe('a close frame', () => {
  test('says its code and reason', () => {
    assert.deepEqual(
      closeFrame(4401, 'token expired', false),
      Buffer.concat([Buffer.from([0x88, 15, 0x11, 0x31]), Buffer.from('token expired')]),
    )
  })

  test('is masked with a key of its own towards a server', () => {
    const frame = closeFrame(1001, 'going', true)
    assert.equal(frame[1], 0x80 | 7)
    const key = frame.subarray(2, 6)
    const payload = Buffer.from(frame.subarray(6).map((byte, i) => byte ^ key[i % 4]!))
    assert.deepEqual(payload, Buffer.concat([Buffer.from([0x03, 0xe9]), Buffer.from('going')]))
    const keys = Array.from({ length: 8 }, () => closeFrame(1001, '', true).toString('hex', 2, 6))
    assert.ok(new Set(keys).size > 1)
  })
})
