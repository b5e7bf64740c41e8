import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Contender, Setting } from '../contender.ts'
import { freePort, ready, type Started, start } from '../process.ts'
import { SECRET } from '../token.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

export type GatewayChoice = {
  /** Run the sources instead of the bundle. */
  sources: boolean
  /** Further arguments for Node, in front of the program. */
  nodeArguments?: string[]
}

/** The gateway with its default pipeline and its access log on: no setting turns anything off. */
export function gateway(choice: GatewayChoice): Contender {
  return {
    name: 'gateway',
    label: 'nyro-gateway, log on',
    authenticates: true,
    logs: true,
    missing: async () => (existsSync(ROOT + program(choice)) ? null : `${program(choice)} does not exist`),
    start: async setting => {
      const port = await freePort()
      const process = startGateway(choice, setting, port)
      await ready(process, port, '/health')
      return { name: 'gateway', port, process }
    },
  }
}

/** Starts the gateway and returns at once, for whoever wants to watch it come up. */
export function startGateway(choice: GatewayChoice, setting: Setting, port: number): Started {
  const upstream = `http://127.0.0.1:${setting.upstreamPort}`
  return start({
    name: 'gateway',
    directory: setting.directory,
    core: setting.cores.measured,
    command: [process.execPath, ...(choice.nodeArguments ?? []), program(choice), 'start'],
    cwd: ROOT,
    env: {
      PORT: String(port),
      GATEWAY_ADMIN_PORT: 'off',
      GATEWAY_JWT_SECRET: SECRET,
      GATEWAY_QUERY_SERVICE_URL: upstream,
      GATEWAY_INGEST_SERVICE_URL: upstream,
    },
  })
}

function program(choice: GatewayChoice): string {
  return choice.sources ? 'src/main.ts' : 'dist/main.js'
}
