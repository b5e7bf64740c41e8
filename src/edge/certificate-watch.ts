/** Notices that the certificate's files have changed, whichever way they are replaced. */

import {
  type CertificateFiles,
  type CertificatePair,
  type CertificateProblem,
  readCertificate,
} from '../certificate.ts'
import { fileStamp } from '../file-stamp.ts'

export interface CertificateEvents {
  onChanged(pair: CertificatePair): void
  /** The new files cannot be served: the old certificate stays. Told once for each change. */
  onUnusable(problem: CertificateProblem): void
}

/**
 * Looks at the files every `seconds`. Watched by name and not by handle, for they are replaced rather than written to.
 * @returns what ends it
 */
export function watchCertificate(
  files: CertificateFiles,
  seconds: number,
  { onChanged, onUnusable }: CertificateEvents,
): () => void {
  let served = stampOf(files)
  let failed = ''
  let told = false

  function look(): void {
    const stamp = stampOf(files)
    if (stamp === served || (stamp === failed && told)) return
    let pair: CertificatePair
    try {
      pair = readCertificate(files)
    } catch (error) {
      // One of the two may have been replaced a moment before the other: they get until the next look.
      told = stamp === failed
      failed = stamp
      if (told) onUnusable(error as CertificateProblem)
      return
    }
    served = stamp
    failed = ''
    onChanged(pair)
  }

  const timer = setInterval(look, seconds * 1000)
  timer.unref()
  return () => clearInterval(timer)
}

function stampOf({ cert, key }: CertificateFiles): string {
  return [cert, key].map(fileStamp).join()
}
