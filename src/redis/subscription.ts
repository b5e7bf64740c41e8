/** A connection of its own on which Redis tells what others publish: one that listens cannot ask. */

import type { Cluster, Redis } from 'ioredis'
import type { RedisClient } from './link.ts'

export class Subscription {
  readonly #client: RedisClient

  /**
   * @param onMessage called with each text that is published on one of the channels
   * @param onSubscribed called each time that it begins to listen: what was said before it has missed
   */
  constructor(
    client: RedisClient,
    channels: readonly string[],
    onMessage: (channel: string, text: string) => void,
    onSubscribed: () => void,
  ) {
    const own: RedisClient = client.isCluster
      ? (client as Cluster).duplicate()
      : (client as Redis).duplicate({ autoResubscribe: false })
    this.#client = own
    // That Redis is away is found out, and told, on the connection that asks
    own.on('error', () => {})
    own.on('message', onMessage)
    own.on('ready', () => {
      own.subscribe(...channels).then(onSubscribed, () => own.disconnect(true))
    })
  }

  close(): void {
    this.#client.disconnect()
  }
}
