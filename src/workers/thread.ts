/** The entry of a worker thread. It makes its own configurations, gateways and listener, and serves until told to end. */

import { parentPort, workerData } from 'node:worker_threads'
import { withFixed } from '../config/fixed.ts'
import { type ConfigSource, loadConfig } from '../config/load.ts'
import type { GatewayConfig } from '../config/schema.ts'
import { Calendar } from '../limits/calendar.ts'
import type { Ports } from '../listening.ts'
import { openLog } from '../telemetry/log.ts'
import { usageRecorder } from '../usage/recorder.ts'
import { RingSink } from '../usage/ring-sink.ts'
import { Shedding } from './balance.ts'
import { FollowedBlocks } from './block-feed.ts'
import { Board } from './board.ts'
import { surviveFaults } from './faults.ts'
import { type FromWorker, faultOf, type Prepare, type ToWorker, type WorkerData } from './messages.ts'
import { RemoteKeySource } from './remote-keys.ts'
import { type Prepared, type Serving, serve } from './serve.ts'
import { shareOf } from './share.ts'

/** Time between two looks at the other workers' connections. */
const TICK_MS = 100

const data = workerData as WorkerData
const { id, workers } = data
const supervisor = parentPort!
const post = (message: FromWorker): void => supervisor.postMessage(message)
const board = Board.attach(data.board)
const blocks = new FollowedBlocks(data.blocks)
const ask = (): void => post({ kind: 'keys wanted' })
let keys = new RemoteKeySource(data.keys, ask)
const usage = data.usage === null ? null : new RingSink(data.usage.ring)
let serving: Serving | null = null
let preparation: Promise<Prepared> | null = null

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
    case 'prepare':
      preparation = prepare(message)
      return void preparation.then(
        () => post({ kind: 'prepared' }),
        error => post({ kind: 'unprepared', fault: faultOf(error) }),
      )
    case 'swap':
      return void preparation!.then(swap).catch(fail)
    case 'discard':
      void preparation?.then(
        prepared => prepared.discard(),
        () => {},
      )
      preparation = null
      return
    case 'close':
      return void close()
    case 'cut':
      return serving?.cut()
    case 'abandon':
      return end(1)
  }
})

async function build(): Promise<void> {
  const { config, isAsBefore } = await load(data.source)
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
    blocks,
    id,
    // The supervisor, who fetches them, logs it
    events: { onKeysFailed: () => {}, onKeysChanged: () => {} },
    shared: { keys: config.identity.jwks === undefined ? undefined : keys, ready: () => board.ready },
    shed: openedAt => shedding.take(openedAt),
    ticketKeys: Buffer.from(data.ticketKeys),
    onQuotas: data.keepsQuotas ? names => post({ kind: 'quotas', names }) : undefined,
    onRevoked: data.tellsRevoked ? revocation => post({ kind: 'revoked', revocation }) : undefined,
    usage: usage === null ? null : usageRecorder(usage, new Calendar('day', data.usage!.timeZone)),
  })
  serving.start()
  const tick = (): void => {
    serving!.publish()
    usage?.retry()
    board.counters.cell(id, 'beats').add(1)
    const counts = board.serving.map(each => board.connections(each))
    shedding.tick(board.connections(id), counts)
  }
  setInterval(tick, TICK_MS).unref()
  post({ kind: 'built', moduleChanged: !isAsBefore })
}

/** This worker's share of a configuration, under which it can go on. */
async function load(source: ConfigSource): Promise<{ config: GatewayConfig; isAsBefore: boolean }> {
  const loaded = await loadConfig({ source })
  if (loaded.config === null) {
    throw new Error(loaded.problems.map(({ place, message }) => `${place} ${message}`).join('; '))
  }
  const config = shareOf(withFixed(loaded.config, data.fixed), id, workers)
  return { config, isAsBefore: !hasChanged(source.file, loaded.source.file) }
}

/** The file of a worker that starts later may have been edited since; only its text could have been kept. */
function hasChanged(before: ConfigSource['file'], file: ConfigSource['file']): boolean {
  return before?.kind === 'module' && file?.kind === 'module' && file.digest !== before.digest
}

/** Ready for another configuration, of which nothing is to be seen yet. */
async function prepare({ source, keys: others, admission }: Prepare): Promise<Prepared> {
  await building
  board.admission.adopt(admission)
  const { config, isAsBefore } = await load(source)
  if (!isAsBefore) throw new Error('the config file has changed once more meanwhile')
  const nextKeys = others === null ? keys : new RemoteKeySource(others.set, ask)
  // The supervisor has tried already
  if (others !== null) nextKeys.answered(0)
  const hasKeys = config.identity.jwks !== undefined
  const prepared = await serving!.prepare(config, hasKeys ? nextKeys : undefined)
  return {
    discard: prepared.discard,
    swap() {
      keys = nextKeys
      return prepared.swap()
    },
  }
}

async function swap(prepared: Prepared): Promise<void> {
  await prepared.swap()
  // It knows the gateway before
  preparation = null
  if (board.serving.includes(id)) board.setState(id, serving!.ready() ? 'ready' : 'listening')
  post({ kind: 'swapped' })
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
  await usage?.finish()
  end(0)
}

const building = build()
try {
  await building
} catch (error) {
  fail(error)
}
