import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { reset } from './closing.ts'

const server = net.createServer({ allowHalfOpen: true })
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
const far: Socket[] = []
after(() => {
  for (const socket of far) socket.destroy()
  server.close()
})

async function accepted(): Promise<{ near: Socket; peer: Socket }> {
  const arrives = once(server, 'connection') as Promise<[Socket]>
  const peer = net.connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  })
  far.push(peer)
  peer.on('error', () => {})
  const [near] = await arrives
  near.on('error', () => {})
  return { near, peer }
}

describe('a reset', { timeout: 5_000 }, () => {
  test('is what the peer sees', async () => {
    const { near, peer } = await accepted()
    const error = new Promise<NodeJS.ErrnoException>(resolve => peer.once('error', resolve))
    peer.resume()
    reset(near)
    assert.equal((await error).code, 'ECONNRESET')
  })

  for (const [what, begin] of [
    ['has just been ended', (socket: Socket) => void socket.end()],
    [
      'is being ended, with bytes before the end',
      (socket: Socket) => void socket.end(Buffer.alloc(20_000_000)),
    ],
    ['has bytes that nobody takes', (socket: Socket) => void socket.write(Buffer.alloc(20_000_000))],
    ['is about to be destroyed', (socket: Socket) => socket.destroySoon()],
  ] as const) {
    test(`closes a socket that ${what}`, async () => {
      const { near, peer } = await accepted()
      peer.pause()
      begin(near)
      const closed = once(near, 'close')
      reset(near)
      await closed
    })
  }
})
