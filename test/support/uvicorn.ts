/** Debian's uvicorn with one of the apps beside this file. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { needs } from './system.ts'

const APPS = fileURLToPath(new URL('apps/', import.meta.url))

export interface Uvicorn {
  readonly url: string
  stop(): Promise<void>
}

/** The reason to skip, or false. */
export function needsUvicorn(): Promise<string | false> {
  return needs('uvicorn with FastAPI', {
    command: '/usr/bin/uvicorn',
    packages: ['uvicorn', 'python3-fastapi', 'python3-multipart'],
    check: ['/usr/bin/python3', '-c', 'import fastapi, multipart, uvicorn'],
  })
}

/** The same with WebSockets, for which uvicorn needs a library of its own. */
export function needsUvicornWithWebSockets(): Promise<string | false> {
  return needs('uvicorn with FastAPI and websockets', {
    command: '/usr/bin/uvicorn',
    packages: ['uvicorn', 'python3-fastapi', 'python3-multipart', 'python3-websockets'],
    check: ['/usr/bin/python3', '-c', 'import fastapi, uvicorn, websockets'],
  })
}

/** Starts an app on a port that the system chooses. Rejects with what uvicorn printed when it ends before it listens. */
export async function startUvicorn(app: string, more: readonly string[] = []): Promise<Uvicorn> {
  const args = [
    `${app}:app`,
    '--host',
    '127.0.0.1',
    '--port',
    '0',
    '--no-access-log',
    '--no-use-colors',
    ...more,
  ]
  const child = spawn('/usr/bin/uvicorn', args, {
    cwd: APPS,
    env: { PATH: '/usr/bin:/bin', PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = once(child, 'exit')
  let printed = ''
  const port = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', line => {
      printed += `${line}\n`
      const found = /running on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
    void ended.then(() => reject(new Error(`uvicorn ended: ${printed}`)))
    child.once('error', reject)
  })
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await ended
    },
  }
}
