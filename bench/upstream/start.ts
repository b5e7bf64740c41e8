/** The upstream of a scenario that has one of its own: on the core of the load. */

import { fileURLToPath } from 'node:url'
import { freePort, ready, type Started, start } from '../process.ts'
import type { Run } from '../run.ts'

export type Upstream = { port: number; process: Started }

/** @param program a file beside this one, which listens on `PORT` */
export async function startUpstream(
  run: Pick<Run, 'directory' | 'cores'>,
  program: string,
): Promise<Upstream> {
  const port = await freePort()
  const process = start({
    name: 'upstream',
    directory: run.directory,
    core: run.cores.load,
    command: [globalThis.process.execPath, fileURLToPath(new URL(program, import.meta.url))],
    env: { PORT: String(port) },
  })
  await ready(process, port)
  return { port, process }
}
