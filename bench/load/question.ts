/** What is asked, and what every single answer to it must be. */
export type Question = {
  method: 'GET' | 'POST'
  path: string
  /** Carries a valid token. */
  token: boolean
  /** Bytes of its body. */
  bodyBytes?: number
  /** Asks for the connection to be closed: each request comes over a new one. */
  close?: boolean
}

export type Expected = { status: number } & ({ body: string } | { bytes: number } | { any: true })

/** What one turn of load saw. Latencies are in microseconds, under the full load of all connections. */
export type Seen = {
  requests: number
  seconds: number
  wrong: number
  socketErrors: number
  p50: number
  p99: number
}
