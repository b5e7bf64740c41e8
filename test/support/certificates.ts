/** A certificate authority and what it vouches for, made by openssl in a directory of the test. */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { needs } from './system.ts'

const run = promisify(execFile)
const OPENSSL = '/usr/bin/openssl'

export interface Authority {
  /** File with its certificate, PEM. */
  readonly file: string
  /** A certificate for a subject alternative name, like `IP:127.0.0.1`, and its key, PEM. */
  issue(name: string): Promise<{ cert: string; key: string }>
}

export function needsOpenssl(): Promise<string | false> {
  return needs('openssl', { command: OPENSSL, packages: ['openssl'] })
}

export async function authority(directory: string, name: string): Promise<Authority> {
  const file = path.join(directory, `${name}.pem`)
  const key = path.join(directory, `${name}.key`)
  await run(OPENSSL, [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${name}`, '-keyout', key, '-out', file],
  ])
  let issued = 0
  return {
    file,
    async issue(subject) {
      const base = path.join(directory, `${name}-${issued++}`)
      await run(OPENSSL, [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '2',
        ],
        ...['-subj', '/CN=service', '-addext', `subjectAltName=${subject}`],
        ...['-addext', 'basicConstraints=critical,CA:FALSE'],
        ...['-CA', file, '-CAkey', key, '-keyout', `${base}.key`, '-out', `${base}.pem`],
      ])
      return { cert: readFileSync(`${base}.pem`, 'utf8'), key: readFileSync(`${base}.key`, 'utf8') }
    },
  }
}
