/** A gateway told by a config, which lives in a directory of its own until the gateway stops. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GatewayOptions as Config } from '../../src/config/schema.ts'
import { type GatewayProcess, startGateway } from './gateway.ts'

/** Neither the seed's services nor an admin port: only what the config says. */
const NO_SERVICES = { GATEWAY_INGEST_SERVICE_URL: undefined, GATEWAY_QUERY_SERVICE_URL: undefined }

export async function startConfigured(
  config: Config,
  env: Record<string, string | undefined> = {},
): Promise<GatewayProcess> {
  const folder = await mkdtemp(join(tmpdir(), 'nyro-test-'))
  const file = join(folder, 'gateway.config.json')
  await writeFile(file, JSON.stringify(config))
  try {
    return await startGateway({ args: ['--config', file], env: { ...NO_SERVICES, ...env } })
  } finally {
    await rm(folder, { recursive: true })
  }
}
