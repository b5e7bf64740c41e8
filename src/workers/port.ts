import { createServer } from 'node:net'
import { listening } from '../listening.ts'

/**
 * Finds out whether the port is free, and which one it is where the system chooses. Listeners that share a port also
 * share it with another process of the same user, in silence: two gateways would each get some of the connections. So it is
 * taken for itself alone first, and let go for the workers to share. They are ready and wait for nothing else, which
 * leaves another process less than a millisecond to come in between; one that listens in the usual way is noticed even
 * then, since the workers cannot listen any more.
 * @throws what keeps a server from listening there, EADDRINUSE above all
 */
export async function claimPort(host: string, port: number): Promise<number> {
  const probe = createServer(socket => socket.destroy())
  try {
    return await listening(probe, port, host)
  } finally {
    await new Promise(resolve => probe.close(resolve))
  }
}
