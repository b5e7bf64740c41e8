/** The front door's certificate and private key: read together, since one without the other serves nobody. */

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'

/** What OpenSSL takes for the keys of session tickets. */
export const TICKET_KEY_BYTES = 48

export interface CertificateFiles {
  /** The certificate and its chain, PEM. */
  readonly cert: string
  /** Its private key, PEM. */
  readonly key: string
}

export interface CertificatePair {
  readonly cert: Buffer
  readonly key: Buffer
  readonly leaf: X509Certificate
}

/** What is wrong with one of the two files, in words that say what to do. */
export class CertificateProblem extends Error {
  readonly file: keyof CertificateFiles

  constructor(file: keyof CertificateFiles, message: string) {
    super(message)
    this.file = file
  }
}

/** @throws CertificateProblem when a file cannot be read, or the two cannot be served together */
export function readCertificate(files: CertificateFiles): CertificatePair {
  const cert = readPem(files, 'cert')
  const key = readPem(files, 'key')
  const leaf = parseCertificate(cert)
  if (!leaf.checkPrivateKey(parseKey(key)))
    throw new CertificateProblem('key', 'does not belong to the certificate: give the key it was issued for')
  try {
    createSecureContext({ cert, key })
  } catch (error) {
    // A key that is too short for today's rules, or a broken certificate further down the chain
    throw new CertificateProblem('cert', `cannot be served (${(error as Error).message})`)
  }
  return { cert, key, leaf }
}

/** Why browsers will refuse a certificate that can be served all the same, or null. */
export function validityWarning({ leaf }: CertificatePair, now = Date.now()): string | null {
  if (leaf.validToDate.getTime() <= now) return `expired on ${leaf.validToDate.toISOString()}: renew it`
  if (leaf.validFromDate.getTime() > now)
    return `is not valid before ${leaf.validFromDate.toISOString()}: look at the clock of this machine`
  return null
}

function readPem(files: CertificateFiles, file: keyof CertificateFiles): Buffer {
  try {
    return readFileSync(files[file])
  } catch (error) {
    throw new CertificateProblem(file, `cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

function parseCertificate(pem: Buffer): X509Certificate {
  if (!pem.includes('-----BEGIN CERTIFICATE-----'))
    throw new CertificateProblem('cert', 'has no certificate in PEM form in it')
  try {
    return new X509Certificate(pem)
  } catch {
    throw new CertificateProblem('cert', 'begins with something that is no certificate: put the leaf first')
  }
}

function parseKey(pem: Buffer): KeyObject {
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem.toString('latin1')))
    throw new CertificateProblem('key', 'has no private key in PEM form in it')
  try {
    return createPrivateKey(pem)
  } catch {
    const encrypted = /ENCRYPTED/.test(pem.toString('latin1'))
    throw new CertificateProblem(
      'key',
      encrypted ? 'is encrypted: give it without a passphrase' : 'is no private key that can be read',
    )
  }
}
