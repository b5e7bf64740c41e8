import { fileURLToPath } from 'node:url'
import { startNginx } from '../peers/nginx.ts'
import { freePort, type Started } from '../process.ts'

const ECHO = fileURLToPath(new URL('echo.njs.js', import.meta.url))

/** The answer of the query service in the small scenario: 89 bytes. */
export const ANSWER =
  '{"answer":"42","question":"echo-small","sources":[],"took_ms":1,"status":"ok","page":"1"}'

export const ANSWER_PATH = '/api/v1/query/echo-small'
export const ECHO_PATH = '/api/v1/query/echo'

export type SmallUpstream = {
  port: number
  process: Started
  /** Connections accepted and requests served since it started. */
  counts: () => Promise<{ connections: number; requests: number }>
}

/** An upstream that is never the slow part: nginx answering out of its configuration. */
export async function startSmallUpstream(directory: string, core: number | null): Promise<SmallUpstream> {
  const port = await freePort()
  const process = await startNginx(
    'upstream',
    directory,
    core,
    port,
    `
    js_import show from ${ECHO};
    server {
      listen 127.0.0.1:${port} backlog=1024;
      client_max_body_size 0;
      location = ${ANSWER_PATH} { default_type application/json; return 200 '${ANSWER}'; }
      location = ${ECHO_PATH} { js_content show.echo; }
      location = /counts { stub_status; }
    }`,
  )
  return { port, process, counts: () => counts(port) }
}

async function counts(port: number): Promise<{ connections: number; requests: number }> {
  const answer = await fetch(`http://127.0.0.1:${port}/counts`, { headers: { connection: 'close' } })
  const [connections = 0, , requests = 0] =
    (await answer.text())
      .match(/\d+ \d+ \d+/)?.[0]
      .split(' ')
      .map(Number) ?? []
  return { connections, requests }
}
