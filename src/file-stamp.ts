import { statSync } from 'node:fs'

/**
 * Differs when a file has been replaced or written to, or has gone. Through links, since what they lead to is what counts:
 * Kubernetes swaps a link to the folder above its files, certbot links to a new file.
 */
export function fileStamp(file: string): string {
  try {
    const { ino, mtimeMs, size } = statSync(file)
    return `${ino}:${mtimeMs}:${size}`
  } catch {
    return 'absent'
  }
}
