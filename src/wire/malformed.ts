/**
 * What is wrong with a message: `syntax`, or a part that is larger than anybody may send.
 * `version`: a protocol that is not spoken here, or not any more.
 */
export type Malformation = 'syntax' | 'head' | 'target' | 'chunk' | 'version' | 'coding' | 'length'

/** Bytes that are not the HTTP/1.x they claim to be. The message names the fault, never the bytes. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage'
  readonly kind: Malformation

  constructor(message: string, kind: Malformation = 'syntax') {
    super(message)
    this.kind = kind
  }
}
