/**
 * Bytes of heap that a value out of JSON takes, estimated upwards: twice too much for common claims, never too little
 * for any shape that was tried. Its length as text would not do: `[{},{},…]` takes twenty times as much memory as
 * text, and an auth server may let users write parts of their own tokens.
 */
export function heapBytes(value: unknown): number {
  let bytes = 0
  // No recursion: JSON may nest deeper than the stack goes.
  const pending: unknown[] = [value]
  while (pending.length > 0) {
    const one = pending.pop()
    if (typeof one === 'string') {
      // One character beyond Latin-1 doubles all others; a short string's second byte is within the margin.
      bytes += 24 + (one.length > 200 ? 2 * one.length : one.length)
    } else if (Array.isArray(one)) {
      bytes += 48 + 8 * one.length
      for (const item of one) pending.push(item)
    } else if (typeof one === 'object' && one !== null) {
      const names = Object.keys(one)
      // Names that no other object has come with a hidden class of their own
      bytes += names.length === 0 ? 80 : 200
      for (const name of names) {
        bytes += 40 + name.length
        pending.push((one as Record<string, unknown>)[name])
      }
    } else {
      bytes += 16
    }
  }
  return bytes
}
