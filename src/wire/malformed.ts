/** An upstream's bytes that are not the HTTP/1.x they claim to be. The message names the fault, never the bytes. */
export class MalformedResponse extends Error {
  override readonly name = 'MalformedResponse'
}
