import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { sendDetail } from './json.ts'

export interface RunningService {
  name: string
  /** Where it listens, without a slash at the end: `http://127.0.0.1:41873`. */
  url: string
  /** Stops listening and breaks whatever is still in flight. */
  close(): Promise<void>
}

export interface ServiceOptions {
  /** 0 or absent: a free port chosen by the system. */
  port?: number
  host?: '127.0.0.1'
  /** Told in one line about each thing worth knowing, once it is over. */
  report?: (line: string) => void
}

/** `left` aborts when the client goes away before its answer was sent to the end. */
export type ServiceHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  left: AbortSignal,
) => void | Promise<void>

/** For services that speak another protocol too, on connections that ask for it. */
export interface Upgrades {
  /** What it declines is a request like any other. */
  wants(request: IncomingMessage): boolean
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void
}

const serverOptions = {
  // What uvicorn does, and what most services behind a gateway are: idle connections end after 5 s.
  keepAliveTimeout: 5_000,
  // An upload takes as long as it takes; the gateway in front holds the deadline.
  requestTimeout: 0,
  // A head that the gateway let through (32 KiB) still fits when the gateway has added its own fields.
  maxHeaderSize: 64 * 1024,
}

export async function startService(
  name: string,
  handle: ServiceHandler,
  options: ServiceOptions,
  upgrades?: Upgrades,
): Promise<RunningService> {
  const host = options.host ?? '127.0.0.1'
  const shouldUpgradeCallback = (request: IncomingMessage) => upgrades?.wants(request) ?? false
  const server = createServer({ ...serverOptions, shouldUpgradeCallback }, (request, response) => {
    const left = new AbortController()
    response.on('close', () => {
      if (!response.writableFinished) left.abort()
    })
    answer(handle, request, response, left.signal)
  })

  server.on('upgrade', (request, socket, head) => {
    // Nothing else hears of a client that breaks off now.
    socket.on('error', () => {})
    upgrades?.take(request, socket, head)
  })

  const { promise: listening, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', reject)
  server.listen(options.port ?? 0, host, resolve)
  await listening

  const { port } = server.address() as AddressInfo
  return {
    name,
    url: `http://${host}:${port}`,
    close: () =>
      new Promise<void>(done => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

async function answer(
  handle: ServiceHandler,
  request: IncomingMessage,
  response: ServerResponse,
  left: AbortSignal,
): Promise<void> {
  try {
    await handle(request, response, left)
  } catch (error) {
    if (left.aborted || request.socket.destroyed) return
    console.error(error)
    // A body cut short must not look whole: break the connection rather than end it.
    if (response.headersSent) response.destroy()
    else sendDetail(response, 500, 'Internal Server Error')
  }
}
