/** The image: built by its own Dockerfile's steps, run as it would be, with nothing that it may write to. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  globSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bearer, send } from './support/client.ts'
import { SECRET } from './support/gateway.ts'
import { buildImage, type Image, ignoreRules, parse } from './support/image.ts'
import { token } from './support/token.ts'
import { recordingUpstream } from './support/upstream.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const isRoot = process.getuid?.() === 0

/** Node refuses every write then, as a read-only root file system does. */
const READ_ONLY =
  '--permission --allow-fs-read=* --allow-net --allow-worker --disable-warning=ExperimentalWarning --disable-warning=SecurityWarning'

describe('the image', () => {
  let image: Image
  let node: string

  before(() => {
    image = buildImage(ROOT, 'deploy/Dockerfile')
    node = installNode(image)
    allow(0o555)
    chmodSync(path.dirname(image.root), 0o755)
  })
  after(() => {
    allow(0o755)
    image.remove()
  })

  /** What may be done with everything that the image copied. */
  function allow(mode: number): void {
    for (const file of globSync('{app,etc}/**', { cwd: image.root }))
      chmodSync(path.join(image.root, file), mode)
  }

  /** Runs a command line of the image, as its user, in its working directory. */
  function launch(line: readonly string[], env: Record<string, string> = {}): ChildProcess {
    const [command, ...args] = line
    assert.equal(command, 'node')
    const [uid, gid] = image.user.split(':').map(Number)
    return spawn(node, inside(args), {
      cwd: path.join(image.root, image.workdir),
      env: { PATH: path.dirname(node), NODE_OPTIONS: READ_ONLY, ...image.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 30_000,
      ...(isRoot ? { uid: uid!, gid: gid! } : {}),
    })
  }

  /** Absolute paths of the image, where they lie on this machine. */
  function inside(args: readonly string[]): string[] {
    return args.map(arg => (arg.startsWith('/app/') ? path.join(image.root, arg) : arg))
  }

  async function start(env: Record<string, string> = {}): Promise<{ url: string; child: ChildProcess }> {
    const child = launch([...image.entrypoint, ...image.command], {
      GATEWAY_JWT_SECRET: SECRET,
      GATEWAY_HOST: '127.0.0.1',
      GATEWAY_ADMIN_PORT: 'off',
      PORT: '0',
      ...env,
    })
    let errors = ''
    child.stderr!.on('data', chunk => {
      errors += chunk
    })
    for await (const line of createInterface({ input: child.stdout! })) {
      const record = JSON.parse(line) as Record<string, unknown>
      if (record.event !== 'Gateway listening') continue
      child.stdout!.resume()
      return { url: String(record.url), child }
    }
    throw new Error(`the gateway ended: ${errors}`)
  }

  async function ended(child: ChildProcess): Promise<number | null> {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const [code] = (await once(child, 'exit')) as [number | null]
    return code
  }

  async function healthcheck(port: string): Promise<number | null> {
    return ended(launch(image.healthcheck, { PORT: port, NODE_OPTIONS: '' }))
  }

  it('serves without write permission on anything, and ends with 0 on SIGTERM', async t => {
    const upstream = await recordingUpstream()
    t.after(() => upstream.close())
    const { url, child } = await start({ GATEWAY_QUERY_SERVICE_URL: upstream.url })
    try {
      assert.equal((await send(`${url}/health`)).status, 200)
      assert.equal((await send(`${url}/ready`)).status, 200)
      assert.equal((await send(`${url}/docs`)).status, 200)
      const { status } = await send(`${url}/api/v1/query/ask`, { headers: bearer(token()) })
      assert.equal(status, 200)
      assert.deepEqual(upstream.requests[0]?.values('x-company-id'), ['acme'])
    } finally {
      child.kill('SIGTERM')
    }
    assert.equal(await ended(child), 0)
  })

  it('is healthy while it serves, and not once it is gone', async () => {
    const { url, child } = await start()
    const { port } = new URL(url)
    try {
      assert.equal(await healthcheck(port), 0)
    } finally {
      child.kill('SIGTERM')
    }
    await ended(child)
    assert.equal(await healthcheck(port), 1)
  })

  it('refuses to start without a key, with the exit code for a wrong configuration', async () => {
    const child = launch([...image.entrypoint, ...image.command])
    assert.equal(await ended(child), 78)
  })

  for (const [name, text] of [
    ['gateway.config.yaml', 'routes: [{ path: /hello, auth: none, respond: { body: mounted } }]\n'],
    [
      'gateway.config.ts',
      `import { defineGateway, type Policy, reply } from 'nyro-gateway'
       const hello: Policy = () => reply(200, [], 'mounted')
       export default defineGateway({ routes: [{ path: '/hello', auth: 'none', respond: {}, policies: [hello] }] })`,
    ],
  ] as const) {
    it(`finds ${name} where it is mounted`, async () => {
      const folder = path.join(image.root, image.workdir)
      chmodSync(folder, 0o755)
      writeFileSync(path.join(folder, name), text, { mode: 0o444 })
      chmodSync(folder, 0o555)
      try {
        const { url, child } = await start()
        try {
          assert.equal((await send(`${url}/hello`)).text, 'mounted')
        } finally {
          child.kill('SIGTERM')
          await ended(child)
        }
      } finally {
        chmodSync(folder, 0o755)
        rmSync(path.join(folder, name))
      }
    })
  }

  it('runs other commands in place of start', async () => {
    const child = launch([...image.entrypoint, 'check'], { GATEWAY_JWT_SECRET: SECRET })
    assert.equal(await ended(child), 0)
  })

  it('holds the command, its bundle with the page of the demo, and the description of the package, nothing else', () => {
    const app = path.join(image.root, 'app')
    assert.deepEqual(readdirSync(app).sort(), ['bin', 'dist', 'package.json'])
    const kinds = new Set(
      readdirSync(path.join(app, 'dist'), { recursive: true }).map(file => path.extname(String(file))),
    )
    assert.deepEqual([...kinds].sort(), ['', '.css', '.html', '.js', '.txt'])
    assert.deepEqual(
      readdirSync(path.join(app, 'dist', 'page')).sort(),
      [...readdirSync(`${ROOT}demo/page`), 'supabase.js', 'supabase.js.LEGAL.txt'].sort(),
    )
  })

  it('has a numeric user that is not root, and exposes the port it listens on', () => {
    assert.match(image.user, /^[1-9]\d*:[1-9]\d*$/)
    assert.deepEqual(image.exposed, [image.env.PORT])
  })
})

describe('the build', () => {
  const isIgnored = ignoreRules(readFileSync(`${ROOT}deploy/Dockerfile.dockerignore`, 'utf8'))

  for (const file of ['.env', '.git/config', 'node_modules/zod/index.js', 'dist/main.js', 'src/a.test.ts']) {
    it(`does not send ${file} to the builder`, () => assert.equal(isIgnored(file), true))
  }

  it('sends every file that it copies', () => {
    const copied = parse(readFileSync(`${ROOT}deploy/Dockerfile`, 'utf8'))
      .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from='))
      .flatMap(({ text }) => text.split(' ').slice(0, -1))
    assert.ok(copied.includes('package-lock.json'))
    assert.deepEqual(copied.filter(isIgnored), [])
  })

  it('stands on the Node that the tests run on', () => {
    const bases = parse(readFileSync(`${ROOT}deploy/Dockerfile`, 'utf8')).filter(
      ({ name }) => name === 'FROM',
    )
    const major = process.versions.node.split('.')[0]
    for (const { text } of bases) assert.match(text, new RegExp(`^node:${major}-`))
  })
})

/** This Node as the image's own, where an unprivileged user may run it whatever guards the repository's folder. */
function installNode({ root }: Image): string {
  const folder = path.join(root, 'usr/local/bin')
  const file = path.join(folder, 'node')
  mkdirSync(folder, { recursive: true })
  try {
    linkSync(process.execPath, file)
  } catch {
    copyFileSync(process.execPath, file)
    chmodSync(file, 0o755)
  }
  return file
}
