import { createServer, type Server } from 'node:net'
import type { GatewayConfig } from '../config/schema.ts'
import { listening, type Ports } from '../listening.ts'

/**
 * Finds out whether the ports are free, and which ones they are where the system chooses. Listeners that share a port also
 * share it with another process of the same user, in silence: two gateways would each get some of the connections. So they are
 * taken for itself alone first, and let go for the workers to share. They are ready and wait for nothing else, which
 * leaves another process less than a millisecond to come in between; one that listens in the usual way is noticed even
 * then, since the workers cannot listen any more.
 * @throws what keeps a server from listening there, EADDRINUSE above all
 */
export async function claimPorts({ host, port, tls }: GatewayConfig['server']): Promise<Ports> {
  const probes: Server[] = []
  const claim = (wanted: number): Promise<number> => {
    const probe = createServer(socket => socket.destroy())
    probes.push(probe)
    return listening(probe, wanted, host)
  }
  try {
    return { plain: await claim(port), tls: tls === undefined ? null : await claim(tls.port) }
  } finally {
    await Promise.all(probes.map(probe => new Promise(resolve => probe.close(resolve))))
  }
}
