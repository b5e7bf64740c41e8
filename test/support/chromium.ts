/** Debian's Chromium, driven from here: a profile of its own, and nothing it would fetch for itself. */

import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { needs } from './system.ts'

const EXECUTABLE = '/usr/bin/chromium'
const SCREENSHOTS = fileURLToPath(new URL('../../test-output/', import.meta.url))

/** The reason to skip, or false. */
export function needsChromium(): Promise<string | false> {
  return needs('Chromium', { command: EXECUTABLE, packages: ['chromium', 'fonts-dejavu-core'] })
}

export function startChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** Returns the path of the picture, relative to the project. */
export async function screenshot(page: Page, name: string): Promise<string> {
  await mkdir(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`), fullPage: true })
  return `test-output/${name}.png`
}
