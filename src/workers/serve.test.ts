import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { send } from '../../test/support/client.ts'
import { echo, pair, socketService } from '../../test/support/websocket.ts'
import { gatewaySchema } from '../config/schema.ts'
import { Blocks } from '../store/blocks.ts'
import { openLog } from '../telemetry/log.ts'
import { Board } from './board.ts'
import { serve } from './serve.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

test('nothing of a configuration is left when another has taken its place, though sockets go on', async context => {
  const sockets = await socketService({ onSocket: echo })
  const configOf = (round: number) =>
    gatewaySchema.parse({
      name: `Round ${round}`,
      server: { host: '127.0.0.1' },
      routes: [
        { path: '/sockets', auth: 'none', upstream: sockets.url },
        { path: '/plain', auth: 'none', upstream: { url: sockets.url, idleTimeout: 10 + round } },
      ],
    })
  const log = openLog(gatewaySchema.parse({}).log, {
    write: () => {},
    flush: () => {},
    idle: async () => {},
    takeDropped: () => 0,
  })
  const events = { onKeysFailed() {}, onKeysChanged() {} }
  const serving = await serve({
    config: configOf(0),
    log,
    board: Board.create(1),
    blocks: new Blocks(),
    id: 0,
    events,
  })
  const { ports } = await serving.listen({ plain: 0, tls: null }, false)
  const url = `http://127.0.0.1:${ports.plain}`
  const { client } = await pair(`${url}/sockets`, sockets)
  context.after(async () => {
    serving.cut()
    await serving.close()
    serving.release()
    await sockets.close()
  })
  const configs: WeakRef<object>[] = []
  // In a frame of its own: what a frame has had in hand may be held for as long as it lives
  const reload = async (round: number): Promise<void> => {
    const config = configOf(round)
    configs.push(new WeakRef(config))
    const prepared = await serving.prepare(config)
    await prepared.swap()
    assert.equal((await send(`${url}/plain`)).status, 200)
  }
  for (let round = 1; round <= 10; round++) await reload(round)
  client.socket.send('still here')
  await client.received(1)
  let left = configs.length
  for (let tries = 0; tries < 20 && left > 1; tries++) {
    await turn()
    collect()
    left = configs.filter(config => config.deref() !== undefined).length
  }
  assert.equal(left, 1, 'only the present one')
})
