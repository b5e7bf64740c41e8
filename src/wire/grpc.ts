/** What the gRPC protocol writes into HTTP/2 fields: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */

/** gRPC-Web is another protocol, which carries its status in the body. */
export function isGrpcType(contentType: string | undefined): boolean {
  return contentType !== undefined && /^application\/grpc(?:$|[+; ])/i.test(contentType)
}

/** Milliseconds in each unit. */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
}
const MAX_DIGITS = 100_000_000

/** @returns milliseconds, or null for what no `grpc-timeout` may say */
export function parseTimeout(text: string): number | null {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text)
  return match === null ? null : Number(match[1]) * UNITS[match[2]!]!
}

/** In the finest unit, from microseconds on, that eight digits can say. Never longer than `milliseconds`. */
export function formatTimeout(milliseconds: number): string {
  for (const unit of ['u', 'm', 'S', 'M']) {
    const count = Math.floor(milliseconds / UNITS[unit]!)
    if (count < MAX_DIGITS) return `${Math.max(0, count)}${unit}`
  }
  return `${Math.min(MAX_DIGITS - 1, Math.floor(milliseconds / UNITS.H!))}H`
}

/** `grpc-message`: UTF-8, percent-encoded except for what prints in ASCII. */
export function encodeMessage(text: string): string {
  return text.replace(/[^\x20-\x24\x26-\x7e]+/g, piece =>
    Array.from(Buffer.from(piece), byte => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  )
}
