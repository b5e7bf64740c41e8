/** What is said of the front door's certificate before anything is started. */

import { CertificateProblem, readCertificate, validityWarning } from '../certificate.ts'
import type { GatewayConfig } from './schema.ts'

type Report = (path: readonly PropertyKey[], message: string) => void

export function checkTls({ server }: GatewayConfig, report: Report): void {
  const { tls, port } = server
  if (tls === undefined) return
  if (tls.port === port && port !== 0)
    report(['server', 'tls', 'port'], 'is the plain port as well: give each its own')
  if (tls.reload <= 0) report(['server', 'tls', 'reload'], 'must be longer than 0')
  try {
    readCertificate(tls)
  } catch (error) {
    if (!(error instanceof CertificateProblem)) throw error
    report(['server', 'tls', error.file], error.message)
  }
}

/**
 * A certificate that has expired is served all the same: some of its clients may not care, and without it none are served.
 * @param config checked before
 */
export function certificateWarnings({ server: { tls } }: GatewayConfig): string[] {
  const warning = tls === undefined ? null : validityWarning(readCertificate(tls))
  return warning === null ? [] : [`server.tls.cert ${warning}`]
}
