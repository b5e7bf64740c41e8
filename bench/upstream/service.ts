import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keySet } from '../load/tokens.ts'
import { startNginx } from '../peers/nginx.ts'
import { freePort, type Started } from '../process.ts'

const SCRIPT = fileURLToPath(new URL('service.njs.js', import.meta.url))

/** The small answer: 89 bytes. */
export const ANSWER =
  '{"answer":"42","question":"echo-small","sources":[],"took_ms":1,"status":"ok","page":"1"}'

const BASE = '/api/v1/query'
export const PATHS = {
  small: `${BASE}/echo-small`,
  echo: `${BASE}/echo`,
  tenKilobytes: `${BASE}/10k.json`,
  megabyte: `${BASE}/1m.bin`,
  stream: `${BASE}/stream`,
}

export const TEN_KILOBYTES = 10_240
export const MEGABYTE = 1 << 20

/** What the stream's events are together. */
export const STREAM_BYTES = 100 * 50

export type Service = {
  port: number
  process: Started
  /** Connections accepted and requests served since it started. */
  counts: () => Promise<{ connections: number; requests: number }>
}

/** An upstream that is never the slow part: nginx answering out of its configuration and from the page cache. */
export async function startService(directory: string, core: string | null): Promise<Service> {
  const port = await freePort()
  const files = join(directory, 'files', BASE)
  await mkdir(files, { recursive: true })
  await writeFile(join(files, '10k.json'), contentOf(TEN_KILOBYTES))
  await writeFile(join(files, '1m.bin'), contentOf(MEGABYTE))
  const process = await startNginx(
    'upstream',
    directory,
    core,
    port,
    `
    js_import service from ${SCRIPT};
    server {
      listen 127.0.0.1:${port} backlog=4096;
      client_max_body_size 0;
      client_body_buffer_size 64k;
      root ${join(directory, 'files')};
      open_file_cache max=16;
      etag off;
      default_type application/json;
      location / { return 200 '${ANSWER}'; }
      location = ${PATHS.echo} { js_content service.echo; }
      location = ${PATHS.stream} { postpone_output 0; js_content service.stream; }
      location ~ ^${BASE}/(10k.json|1m.bin)$ { }
      location = /jwks { return 200 '${keySet()}'; }
      location = /counts { stub_status; }
    }`,
  )
  return { port, process, counts: () => counts(port) }
}

/** A JSON text of exactly so many bytes. */
export function contentOf(bytes: number): string {
  const [head, tail] = ['{"rows":["', '"]}']
  return head + 'abcdefghijklmnopqrstuvwxyz012345'.repeat(bytes / 32).slice(0, bytes - 13) + tail
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
