import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { ChunkedDecoder } from '../wire/chunked.ts'
import { BodyWriter } from './body-writer.ts'

const server = net.createServer({ allowHalfOpen: true })
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
const sockets: Socket[] = []
after(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

interface Pair {
  readonly near: Socket
  readonly far: Socket
  /** All that the far side receives, until the near side ends. */
  received(): Promise<Buffer>
}

async function pair(): Promise<Pair> {
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const far = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [near] = await accepted
  sockets.push(near, far)
  near.setNoDelay(true)
  // It ends when the far side has
  near.resume()
  return {
    near,
    far,
    async received() {
      const chunks: Buffer[] = []
      for await (const chunk of far) chunks.push(chunk as Buffer)
      far.destroy()
      return Buffer.concat(chunks)
    },
  }
}

function decode(bytes: Buffer): { data: Buffer; trailer: string; consumed: number; done: boolean } {
  const decoder = new ChunkedDecoder()
  const parts: Buffer[] = []
  const consumed = decoder.decode(bytes, 0, bytes.length, {
    onData: (all, from, to) => parts.push(all.subarray(from, to)),
  })
  return { data: Buffer.concat(parts), trailer: decoder.trailer, consumed, done: decoder.done }
}

/** Sizes on either side of what is copied and what is sent as it is, and of what one hex digit says. */
const size = fc.constantFrom(0, 1, 9, 15, 16, 17, 255, 256, 4_095, 4_096, 4_097, 9_000)
/** A chunk with bytes of every value, told apart by its first ones. */
const chunk = fc
  .tuple(size, fc.nat(255))
  .map(([length, first]) => Buffer.from(Array.from({ length }, (_, i) => first + i)))
/** What happens: a chunk comes, the rest of the loop has its turn, what waits is flushed. */
const step = fc.oneof(
  { weight: 4, arbitrary: chunk },
  { weight: 1, arbitrary: fc.constantFrom('turn' as const, 'flush' as const) },
)

/** More than the kernel holds for a peer that does not read. */
const MOST = 64 * 1024 ** 2

describe('a body as it is written', () => {
  for (const chunked of [true, false]) {
    test(`${chunked ? 'in chunks' : 'as it is'} is the bytes that were given, in their order, and nothing else`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 12 }), async steps => {
          const { near, received } = await pair()
          const writer = new BodyWriter(near, chunked)
          for (const each of steps) {
            if (each === 'turn') await turn()
            else if (each === 'flush') writer.flush()
            else writer.write(each)
          }
          writer.end(['X-Sum', '1', 'x-sum', '\xe9'])
          near.end()
          const bytes = await received()
          const given = Buffer.concat(steps.filter(each => typeof each !== 'string'))
          if (!chunked) return assert.deepEqual(bytes, given)
          const { data, trailer, consumed, done } = decode(bytes)
          assert.deepEqual(data, given)
          assert.deepEqual([trailer, consumed, done], ['X-Sum: 1\r\nx-sum: \xe9', bytes.length, true])
        }),
        { numRuns: 60 },
      )
    })
  }

  test('has no chunk of nothing before its end: that would be the end', async () => {
    const { near, received } = await pair()
    const writer = new BodyWriter(near, true)
    for (const text of ['', 'a', '', 'b', '']) assert.equal(writer.write(Buffer.from(text)), true)
    writer.end([])
    near.end()
    assert.equal((await received()).toString(), '1\r\na\r\n1\r\nb\r\n0\r\n\r\n')
  })

  test('leaves at the end of the turn in which it came, without being asked', async () => {
    const { near, far } = await pair()
    const writer = new BodyWriter(near, true)
    writer.write(Buffer.from('an event'))
    const [bytes] = (await once(far, 'data')) as [Buffer]
    assert.equal(bytes.toString(), '8\r\nan event\r\n')
    writer.write(Buffer.from('next'))
    const [more] = (await once(far, 'data')) as [Buffer]
    assert.equal(more.toString(), '4\r\nnext\r\n')
  })

  test('is not ended by what is thrown away: what waited is never sent', async () => {
    const { near, received } = await pair()
    const writer = new BodyWriter(near, true)
    writer.write(Buffer.from('sent'))
    writer.flush()
    writer.write(Buffer.from('waiting'))
    writer.discard()
    await turn()
    near.end()
    assert.equal((await received()).toString(), '4\r\nsent\r\n')
  })

  test('keeps no chunk that the caller may write over', async () => {
    const { near, received } = await pair()
    const writer = new BodyWriter(near, true)
    const small = Buffer.from('small')
    writer.write(small)
    small.fill('x')
    writer.end([])
    near.end()
    assert.equal((await received()).toString(), '5\r\nsmall\r\n0\r\n\r\n')
  })

  for (const [what, chunked, length] of [
    ['small chunks', true, 1_000],
    ['large chunks', true, 65_536],
    ['chunks as they are', false, 65_536],
  ] as const) {
    test(`holds ${what} back from a peer that does not read, and goes on when it does`, {
      timeout: 20_000,
    }, async () => {
      const { near, far, received } = await pair()
      far.pause()
      const writer = new BodyWriter(near, chunked)
      const part = Buffer.alloc(length, 'y')
      let written = 0
      let flowing = true
      while (flowing && written < MOST) {
        // As much as comes with one read of an upstream
        for (let read = 0; flowing && read < 65_536; read += length) {
          flowing = writer.write(part)
          written += length
        }
        await turn()
        // The kernel may have taken it all meanwhile
        flowing ||= !near.writableNeedDrain
      }
      assert.ok(written < MOST, 'it was never told to wait')
      assert.ok(near.writableLength < 1024 ** 2, `${near.writableLength} bytes wait`)
      const all = received()
      await once(near, 'drain')
      writer.write(part)
      written += length
      writer.end([])
      near.end()
      const bytes = await all
      assert.equal((chunked ? decode(bytes).data : bytes).length, written)
    })
  }
})

describe('a head that is given along', () => {
  for (const chunked of [true, false]) {
    for (const first of [0, 5, 4_096, 4_097, 20_000]) {
      test(`leaves in front of ${first} bytes, ${chunked ? 'chunked' : 'as they are'}`, async () => {
        const { near, received } = await pair()
        const writer = new BodyWriter(near, chunked, 'HEAD\r\n\r\n')
        const body = Buffer.alloc(first, 0x61)
        writer.write(body)
        writer.flush()
        writer.write(Buffer.from('more'))
        writer.end([])
        near.end()
        const all = await received()
        assert.equal(all.toString('latin1', 0, 8), 'HEAD\r\n\r\n')
        const rest = all.subarray(8)
        const expected = Buffer.concat([body, Buffer.from('more')])
        assert.deepEqual(chunked ? decode(rest).data : rest, expected)
      })
    }

    test(`leaves alone where no body comes, ${chunked ? 'chunked' : 'as it is'}`, async () => {
      const { near, received } = await pair()
      const writer = new BodyWriter(near, chunked, 'HEAD\r\n\r\n')
      writer.end([])
      near.end()
      assert.equal((await received()).toString('latin1'), chunked ? 'HEAD\r\n\r\n0\r\n\r\n' : 'HEAD\r\n\r\n')
    })
  }
})
