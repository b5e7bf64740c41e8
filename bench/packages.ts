import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

// Debian keeps servers where not everybody's PATH leads.
if (!`:${process.env.PATH}:`.includes(':/usr/sbin:')) process.env.PATH = `${process.env.PATH}:/usr/sbin`

let attempted: Promise<unknown> | undefined

/** What the peers and the load come from. Asked for together, so that apt runs once. */
const DEBIAN = [
  ...['nginx', 'libnginx-mod-http-js', 'haproxy', 'caddy', 'varnish'],
  ...['wrk', 'nghttp2-client', 'openssl'],
]

/** Installs Debian packages where they are absent and this may be done. Null, or how to get what is missing. */
export async function missingPackages(names: string[]): Promise<string | null> {
  if ((await absent(names)).length === 0) return null
  if (process.getuid?.() === 0) {
    attempted ??= absent(DEBIAN).then(install)
    await attempted
  }
  const still = await absent(names)
  return still.length === 0 ? null : `get it with: apt-get install -y ${still.join(' ')}`
}

async function absent(names: string[]): Promise<string[]> {
  const installed = await Promise.all(names.map(isInstalled))
  return names.filter((_, index) => !installed[index])
}

async function isInstalled(name: string): Promise<boolean> {
  try {
    const { stdout } = await run('dpkg', ['--status', name])
    return stdout.includes('\nStatus: install ok installed\n')
  } catch {
    return false
  }
}

async function install(names: string[]): Promise<void> {
  console.error(`installing ${names.join(', ')} …`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const options = { env, timeout: 180_000, maxBuffer: 1 << 26 }
  try {
    await run('apt-get', ['update', '-q'], options)
    await run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...names], options)
  } catch (error) {
    console.error(`apt-get: ${lastLine(error)}`)
  }
}

/** Installs an npm peer from its lock file. Null, or why that failed. */
export async function installNpmPeer(directory: string): Promise<string | null> {
  try {
    await run('npm', ['ci', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=0'], {
      cwd: directory,
      timeout: 180_000,
    })
    return null
  } catch (error) {
    const code = /npm error code (\S+)/.exec((error as { stderr?: string }).stderr ?? '')?.[1] ?? 'no code'
    return `its packages could not be installed (npm ci: ${code})`
  }
}

function lastLine(error: unknown): string {
  const text = (error as { stderr?: string }).stderr || String(error)
  return text.trim().split('\n').at(-1) ?? ''
}
