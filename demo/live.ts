import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { type Caller, callerOf } from './caller.ts'

/** The one subprotocol spoken here. Clients may offer it, and what the gateway takes for itself, or none. */
export const liveProtocol = 'demo.live'

const tickEvery = 3_000
const largestMessage = 4 * 1024 * 1024

export interface Live {
  /** Takes a connection that asks for a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  /** Breaks all of them. */
  close(): void
}

/**
 * WebSockets that greet, echo, and say now and then that they are still there. Text comes as JSON of a `type`:
 * `welcome`, `echo`, `tick`; bytes come back as they are.
 */
export function createLive(report: (line: string) => void): Live {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: largestMessage,
    perMessageDeflate: { threshold: 1_024 },
    handleProtocols: offered => (offered.has(liveProtocol) ? liveProtocol : false),
  })

  return {
    upgrade(request, socket, head) {
      const caller = callerOf(request)
      if ('missing' in caller) return refuse(socket, caller.missing)
      server.handleUpgrade(request, socket, head, client => talk(client, caller))
    },
    close() {
      for (const client of server.clients) client.terminate()
      server.close()
    },
  }

  function talk(client: WebSocket, { company, user }: Caller): void {
    let messages = 0
    const say = (type: string, more: Record<string, unknown>, sent?: () => void) =>
      client.send(JSON.stringify({ type, ...more }), sent)
    const ticking = setInterval(() => say('tick', { at: new Date().toISOString(), messages }), tickEvery)

    client.on('message', (data: RawData, isBinary: boolean) => {
      messages += 1
      // The next one is read when this one has left: a client that does not listen is not listened to.
      client.pause()
      const sent = () => client.resume()
      if (isBinary) client.send(data, { binary: true }, sent)
      else say('echo', { text: String(data) }, sent)
    })
    client.on('close', code => {
      clearInterval(ticking)
      report(`${company} closed its WebSocket with ${code} after ${messages} messages`)
    })
    // What is wrong with a client ends its connection; 'close' tells of that.
    client.on('error', () => {})
    say('welcome', { company_id: company, user_id: user, protocol: client.protocol })
  }
}

/** As the service answers any request without this header. */
function refuse(socket: Duplex, header: string): void {
  const body = JSON.stringify({
    detail: [{ type: 'value_error', loc: ['header', header], msg: 'Field required' }],
  })
  const lines = [
    'HTTP/1.1 422 Unprocessable Entity',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ]
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`)
}
