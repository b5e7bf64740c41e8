/** What configs and policies in TypeScript import from `nyro-gateway`. */

export { type LoadOptions, loadConfig } from './config/load.ts'
export { defineGateway, type GatewayConfig, type GatewayOptions } from './config/schema.ts'
export { type ErrorCode, GatewayError } from './errors.ts'
export {
  type Client,
  Exchange,
  type Handler,
  json,
  type Policy,
  type Reply,
  type ReplyBody,
  reply,
} from './exchange.ts'
export { claimAt } from './identity/claims.ts'
export type { Claims, Identity } from './identity/identity.ts'
export { type RunningGateway, startGateway } from './server.ts'
