#!/usr/bin/env node
// The published command. Checks the runtime first: an older one fails later, and less clearly.
import { existsSync } from 'node:fs'

// 24.7: HTTP/2 answers from lists of fields
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 7)) {
  process.stderr.write(`nyro-gateway needs Node.js 24.7 or later (this is ${process.versions.node}).\n`)
  process.exit(1)
}
const built = new URL('../dist/main.js', import.meta.url)
await import(existsSync(built) ? built.href : new URL('../src/main.ts', import.meta.url).href)
