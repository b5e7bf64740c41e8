import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodePart, parseHeader, parseJson } from './compact.ts'

const encode = (text: string): string => Buffer.from(text, 'latin1').toString('base64url')
const scratch = Buffer.alloc(16_384)

/** What the alphabet and canonical encoding of RFC 4648 §5 and §3.5 allow, said in another way than the code does. */
function isCanonical(part: string): boolean {
  return /^[\w-]*$/.test(part) && Buffer.from(part, 'base64url').toString('base64url') === part
}

describe('a part of a token', () => {
  test('is decoded to the bytes that were encoded', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), bytes => {
        const decoded = decodePart(Buffer.from(bytes).toString('base64url'), scratch)
        assert.deepEqual(decoded, Buffer.from(bytes))
      }),
    )
  })

  const letters = fc.constantFrom(...'AZaz09-_+/=. \t\n\0Qgw\xe9\u0141')
  const almost = fc.tuple(fc.base64String(), fc.nat(), letters).map(([text, at, letter]) => {
    const part = text.replaceAll('=', '').replaceAll('+', '-').replaceAll('/', '_')
    return part.slice(0, at % (part.length + 1)) + letter + part.slice((at + 1) % (part.length + 1))
  })
  test('has one encoding only, and any other text is none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: letters }), almost), part => {
        assert.equal(decodePart(part, scratch) !== null, isCanonical(part), JSON.stringify(part))
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('a header', () => {
  test('is an object in JSON', () => {
    assert.deepEqual(parseHeader(encode('{"alg":"HS256","x":{}}')), { alg: 'HS256', x: {} })
    assert.deepEqual(parseHeader(encode('{"alg":"a","alg":"b"}')), { alg: 'b' })
    for (const text of ['', '[]', 'null', '7', '"x"', '{', '{"alg":"HS256"}x', '{"alg":"\xff"}']) {
      assert.equal(parseHeader(encode(text)), null, text)
    }
    for (const part of ['eyJ', 'e30=', 'e31', ' e30', 'e30\n', 'e3+0', 'é']) {
      assert.equal(parseHeader(part), null, part)
    }
  })

  test('inherits nothing', () => {
    const header = parseHeader(encode('{"__proto__":{"alg":"HS256"}}'))
    assert.equal(header?.alg, undefined)
  })
})

test('JSON is UTF-8, with or without a byte order mark', () => {
  assert.deepEqual(parseJson(Buffer.from('{"a":"ü株"}')), { a: 'ü株' })
  assert.deepEqual(parseJson(Buffer.from('\ufeff{"a":1}')), { a: 1 })
  for (const bytes of [[], [0x22, 0xff, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0xfe, 0xff]]) {
    assert.equal(parseJson(Buffer.from(bytes)), undefined)
  }
})
