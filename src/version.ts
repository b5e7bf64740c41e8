import { existsSync, readFileSync } from 'node:fs'

/** package.json lies one folder above `src/`, and two above `dist/src/`. */
const places = ['../package.json', '../../package.json'].map(path => new URL(path, import.meta.url))

/** The version of this package. */
export const VERSION: string = JSON.parse(
  readFileSync(places.find(place => existsSync(place)) ?? places[0]!, 'utf8'),
).version
