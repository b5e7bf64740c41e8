/** Config files in a directory of their own, removed with it. */

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export interface ConfigDirectory {
  readonly path: string
  /** Writes a file and returns its path; what is no text is written as JSON. */
  write(name: string, content: unknown): string
  remove(): void
}

export function configDirectory(): ConfigDirectory {
  const directory = mkdtempSync(path.join(tmpdir(), 'nyro-gateway-test-'))
  return {
    path: directory,
    write(name, content) {
      const file = path.join(directory, name)
      // In one step: a gateway that reloads may look at any moment
      writeFileSync(`${file}.new`, typeof content === 'string' ? content : JSON.stringify(content, null, 2))
      renameSync(`${file}.new`, file)
      return file
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  }
}
