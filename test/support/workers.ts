/** A gateway of several workers whose config module tells which thread answers, and lets tests break one. */

import assert from 'node:assert/strict'
import { send } from './client.ts'
import { type ConfigDirectory, configDirectory } from './config.ts'
import { type Connection, openConnection } from './connection.ts'
import { type GatewayProcess, startGateway } from './gateway.ts'
import { parseAnswer } from './problem.ts'
import { wholeAnswer } from './raw.ts'

const CONFIG = `
import { threadId } from 'node:worker_threads'
import { defineGateway, type Policy, reply } from 'nyro-gateway'

const who: Policy = () => reply(200, [], String(threadId))
const exit: Policy = () => process.exit(7)
const fill: Policy = () => {
  const hoard: unknown[] = []
  // Small objects: V8 gives up on them in a second or two, on long arrays only after minutes of collecting
  for (;;) hoard.push({ a: {}, b: {} })
}
const spin: Policy = () => {
  for (;;);
}
const fault: Policy = () => {
  setImmediate(() => {
    throw new Error('escaped')
  })
  return reply(200, [], 'soon')
}
const route = (path: string, policy: Policy) => ({ path, auth: 'none' as const, respond: {}, policies: [policy] })

export default defineGateway({
  routes: [
    route('/who', who),
    route('/exit', exit),
    route('/fill', fill),
    route('/spin', spin),
    route('/fault', fault),
    { path: '/held/*', auth: 'none', upstream: '\${HELD_URL:-http://127.0.0.1:1}' },
  ],
})
`

export interface WorkersGateway extends GatewayProcess {
  readonly directory: ConfigDirectory
  workers(): Promise<WorkerRow[]>
}

export interface WorkerRow {
  readonly id: number
  readonly state: string
  readonly connections: number
  readonly requests: number
  readonly restarts: number
  readonly uptime: number
}

/** Two workers, an admin port, and the routes above. */
export async function startWorkers(env: Record<string, string | undefined> = {}): Promise<WorkersGateway> {
  const directory = configDirectory()
  const file = directory.write('gateway.config.ts', CONFIG)
  const gateway = await startGateway({
    args: ['--config', file],
    env: { GATEWAY_WORKERS: '2', GATEWAY_ADMIN_PORT: '0', ...env },
  })
  void gateway.child.once('exit', () => directory.remove())
  return { ...gateway, directory, workers: () => workersOf(gateway) }
}

export async function workersOf(gateway: GatewayProcess): Promise<WorkerRow[]> {
  const answer = await send(`${gateway.adminUrl}/workers`)
  assert.equal(answer.status, 200)
  return answer.json() as WorkerRow[]
}

/** One request on a connection that stays open. */
export async function ask(connection: Connection, path: string): Promise<ReturnType<typeof parseAnswer>> {
  const before = connection.text().length
  connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  return parseAnswer((await connection.until(text => wholeAnswer(text.slice(before)))).slice(before))
}

export interface Placed {
  readonly connection: Connection
  /** The thread that it came to. */
  readonly thread: string
}

/** Opens connections, as many as it takes, until `enough` of them are with each of `threads` workers. */
export async function placedConnections(
  port: number,
  enough: number,
  threads = 2,
): Promise<Map<string, Placed[]>> {
  const byThread = new Map<string, Placed[]>()
  const isEnough = (): boolean =>
    byThread.size === threads && [...byThread.values()].every(placed => placed.length >= enough)
  // Each falls to a worker by lot: to get none of 200 to one of two would take a broken kernel, or a broken gateway.
  for (let tries = 0; !isEnough(); tries++) {
    assert.ok(tries < 200 * enough, `connections came only to ${[...byThread.keys()]}`)
    const connection = await openConnection(port)
    const { body: thread, values } = await ask(connection, '/who')
    // Sent on to the other worker: it would not stay
    if (values('connection').join() === 'close') continue
    const placed = byThread.get(thread) ?? []
    placed.push({ connection, thread })
    byThread.set(thread, placed)
  }
  return byThread
}
