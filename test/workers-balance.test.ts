/** Connections that stay open are spread over the workers, whatever the kernel's lots gave. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Connection, openConnection } from './support/connection.ts'
import { until } from './support/until.ts'
import { ask, placedConnections, startWorkers, workersOf } from './support/workers.ts'

test('clients that all came to one worker are spread, and then left alone', async context => {
  const gateway = await startWorkers()
  context.after(() => gateway.child.kill('SIGKILL'))
  const [crowd, others] = [...(await placedConnections(gateway.port, 16)).values()]
  for (const { connection } of others!) connection.leave()
  for (const { connection } of crowd!.slice(16)) connection.leave()
  let sentAway = 0
  let stopped = false
  /** A client of the usual kind: it asks again and again, and comes back when its connection was closed. */
  const client = async (first: Connection): Promise<void> => {
    let connection = first
    while (!stopped) {
      const { status, values } = await ask(connection, '/who')
      assert.equal(status, 200)
      if (values('connection').join().toLowerCase() === 'close') {
        sentAway++
        assert.equal(await connection.ended(), 'fin')
        connection = await openConnection(gateway.port)
      }
      await delay(5)
    }
    connection.leave()
  }
  const clients = crowd!.slice(0, 16).map(({ connection }) => client(connection))
  await until(
    'they are spread',
    async () => {
      const counts = (await workersOf(gateway)).map(({ connections }) => connections)
      return counts[0]! + counts[1]! === 16 && Math.max(...counts) <= 9
      // Lots may fall badly a few times in a row, and each time the pause grows.
    },
    60_000,
  )
  // Settled: nobody is sent away any more. Ten looks of the workers at each other would have been occasions.
  const settled = sentAway
  await delay(1_000)
  assert.equal(sentAway, settled)
  assert.ok(sentAway >= 7 && sentAway < 60, `${sentAway} were sent away`)
  stopped = true
  await Promise.all(clients)
  assert.equal(await gateway.stop(), 0)
})
