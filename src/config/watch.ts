/** Notices that a configuration's files have changed, whichever way they are replaced. */

import { join, resolve } from 'node:path'
import { fileStamp } from '../file-stamp.ts'
import type { ConfigSource } from './load.ts'

const LOOK_MS = 1_000

/**
 * Looks at the config file and `.env` once a second, by name. Tells of a change when the next look finds the same: whoever
 * writes a file has a second to finish.
 * @returns what ends it
 */
export function watchConfig({ directory, file }: ConfigSource, onChanged: () => void): () => void {
  const files = [join(directory, '.env'), ...(file === null ? [] : [resolve(directory, file.path)])]
  const stamp = (): string => files.map(fileStamp).join()
  let told = stamp()
  let seen = told
  const timer = setInterval(() => {
    const now = stamp()
    const settled = now === seen
    seen = now
    if (!settled || now === told) return
    told = now
    onChanged()
  }, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}
