/**
 * Blocks on their way from the main thread to the workers. What was said lies in the port of each worker before the number
 * that all of them look at changes: who sees the new number takes it out of the port in the same breath. So a block
 * counts in all threads from one moment on, with its reason, and no thread waits for another.
 */

import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { type Block, type Ruling, rulingOf } from '../store/block.ts'
import { type AskedBlocks, Blocks, type Holder } from '../store/blocks.ts'

/** What a worker is given when it starts. The port has to be handed over, not copied. */
export interface FeedStart {
  /** How many messages were sent to each. */
  readonly sent: SharedArrayBuffer
  readonly alreadySent: number
  readonly blocks: readonly Block[]
  readonly port: MessagePort
}

export class BlockFeed {
  readonly #sent = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  readonly #ports = new Set<MessagePort>()

  /** @param blocks what is known so far */
  follow(blocks: readonly Block[]): FeedStart {
    const { port1, port2 } = new MessageChannel()
    this.#ports.add(port1)
    // Its worker is gone
    port1.on('close', () => this.#ports.delete(port1))
    port1.unref()
    return { sent: this.#sent.buffer, alreadySent: Atomics.load(this.#sent, 0), blocks, port: port2 }
  }

  send(rulings: readonly Ruling[]): void {
    for (const port of this.#ports) port.postMessage(rulings)
    Atomics.add(this.#sent, 0, 1)
  }
}

/** The blocks in a worker. */
export class FollowedBlocks implements AskedBlocks {
  readonly #blocks = new Blocks()
  readonly #sent: Int32Array
  readonly #port: MessagePort
  #taken: number

  constructor({ sent, alreadySent, blocks, port }: FeedStart) {
    this.#sent = new Int32Array(sent)
    this.#taken = alreadySent
    for (const block of blocks) this.#blocks.apply(rulingOf(block))
    this.#port = port
    // Where no request asks, nothing should pile up either.
    port.on('message', (rulings: readonly Ruling[]) => this.#take(rulings))
    port.unref()
  }

  get version(): number {
    return Atomics.load(this.#sent, 0)
  }

  against(holder: Holder): Block | null {
    if (Atomics.load(this.#sent, 0) !== this.#taken) this.#catchUp()
    return this.#blocks.against(holder)
  }

  againstAddress(ip: string): Block | null {
    if (Atomics.load(this.#sent, 0) !== this.#taken) this.#catchUp()
    return this.#blocks.againstAddress(ip)
  }

  #catchUp(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port)
      if (received === undefined) return
      this.#take(received.message as readonly Ruling[])
    }
  }

  #take(rulings: readonly Ruling[]): void {
    this.#taken = (this.#taken + 1) | 0
    for (const ruling of rulings) this.#blocks.apply(ruling)
  }
}
