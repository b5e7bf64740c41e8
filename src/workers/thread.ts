/** The entry of a worker thread. It makes its own configuration, gateway and listener, and serves until told to end. */

import { parentPort, workerData } from 'node:worker_threads'
import { loadConfig } from '../config/load.ts'
import type { Ports } from '../listening.ts'
import { openLog } from '../telemetry/log.ts'
import { Shedding } from './balance.ts'
import { Board } from './board.ts'
import { surviveFaults } from './faults.ts'
import { type FromWorker, faultOf, type ToWorker, type WorkerData } from './messages.ts'
import { RemoteKeySource } from './remote-keys.ts'
import { type Serving, serve } from './serve.ts'
import { shareOf } from './share.ts'

/** Time between two looks at the other workers' connections. */
const TICK_MS = 100

const data = workerData as WorkerData
const { id, workers } = data
const supervisor = parentPort!
const post = (message: FromWorker): void => supervisor.postMessage(message)
const board = Board.attach(data.board)
const keys = new RemoteKeySource(data.keys, () => post({ kind: 'keys wanted' }))
let serving: Serving | null = null

/** One end for all ways: `exit` writes out the log, and what was posted before it still arrives. */
const end = (code: number): never => process.exit(code)

function fail(error: unknown): never {
  post({ kind: 'failed', fault: faultOf(error) })
  return end(1)
}

supervisor.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'listen':
      return void open(message.ports).catch(fail)
    case 'keys':
      keys.adopt(message.keys)
      return report()
    case 'keys asked':
      return keys.answered(message.cooldown)
    case 'close':
      return void close()
    case 'cut':
      return serving?.cut()
    case 'abandon':
      return end(1)
  }
})

async function build(): Promise<void> {
  const loaded = await loadConfig({ source: data.source })
  if (loaded.config === null) {
    throw new Error(loaded.problems.map(({ place, message }) => `${place} ${message}`).join('; '))
  }
  const config = shareOf(loaded.config, id, workers)
  const log = openLog(
    { level: config.log.level, format: data.pretty ? 'pretty' : 'json' },
    {
      write: lines => post({ kind: 'log', lines }),
      flush: () => {},
      idle: async () => {},
      takeDropped: () => 0,
    },
  )
  surviveFaults(log)
  const shedding = new Shedding()
  serving = await serve({
    config,
    log,
    board,
    id,
    // The supervisor, who fetches them, logs it
    events: { onKeysFailed: () => {}, onKeysChanged: () => {} },
    shared: { keys: config.identity.jwks === undefined ? undefined : keys, ready: () => board.ready },
    shed: () => shedding.take(),
    ticketKeys: Buffer.from(data.ticketKeys),
  })
  serving.start()
  const tick = (): void => {
    serving!.publish()
    board.counters.cell(id, 'beats').add(1)
    const counts = board.serving.map(each => board.connections(each))
    shedding.tick(board.connections(id), counts)
  }
  setInterval(tick, TICK_MS).unref()
  post({ kind: 'built', moduleChanged: hasChanged(loaded.source.file) })
}

/** The file of a worker that starts later may have been edited since; only its text could have been kept. */
function hasChanged(file: WorkerData['source']['file']): boolean {
  const before = data.source.file
  return before?.kind === 'module' && file?.kind === 'module' && file.digest !== before.digest
}

async function open(ports: Ports): Promise<void> {
  await serving!.listen(ports, true)
  board.setState(id, 'listening')
  report()
  post({ kind: 'listening' })
}

/** Keys may come before the listener is open or after it. */
function report(): void {
  if (board.state(id) === 'listening' && serving?.ready()) board.setState(id, 'ready')
}

async function close(): Promise<void> {
  await serving?.close()
  serving?.release()
  end(0)
}

try {
  await build()
} catch (error) {
  fail(error)
}
