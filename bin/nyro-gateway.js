#!/usr/bin/env node
// The published command. Checks the runtime first: an older one fails later, and less clearly.
import { existsSync } from 'node:fs'

const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  process.stderr.write(`nyro-gateway needs Node.js 24 or later (this is ${process.versions.node}).\n`)
  process.exit(1)
}
const built = new URL('../dist/main.js', import.meta.url)
await import(existsSync(built) ? built.href : new URL('../src/main.ts', import.meta.url).href)
