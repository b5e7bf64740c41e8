/** Paths of `lasting.ts`, below one that the gateway routes by default. */

const BASE = '/api/v1/query'

export const SOCKET_PATH = `${BASE}/socket`
export const EVENTS_PATH = `${BASE}/events`
export const STAMPS_PATH = `${BASE}/stamps`
