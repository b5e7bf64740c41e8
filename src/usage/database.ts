/** The SQLite file: how it is opened, and what is in it. Node's own SQLite, loaded only where there is a file to open. */

import { existsSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'

/** Milliseconds that another process may hold the file before this one gives up, and tries again a flush later. */
const BUSY_MS = 50

const SCHEMA_VERSION = 1
const SCHEMA = `
  CREATE TABLE usage (
    day TEXT NOT NULL,
    company TEXT NOT NULL,
    route TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    bytesIn INTEGER NOT NULL,
    bytesOut INTEGER NOT NULL,
    cost REAL NOT NULL,
    upstreamSeconds REAL NOT NULL,
    PRIMARY KEY (day, company, route)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE quotas (
    period TEXT NOT NULL,
    key TEXT NOT NULL,
    used REAL NOT NULL,
    PRIMARY KEY (period, key)
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${SCHEMA_VERSION};
`

/** The file cannot be used, for a reason that its message tells. */
export class DatabaseUnusable extends Error {
  override readonly name = 'DatabaseUnusable'
}

/**
 * Opens the file to write, and makes it where there is none.
 * @throws when it is no database, one of a later version, or cannot be written
 */
export async function openDatabase(file: string): Promise<DatabaseSync> {
  const database = await open(file, false)
  try {
    // Readers do not wait for the writer, nor it for them. A commit is safe when the process dies; the disk is waited for
    // only when the log is put into the file, now and then: each commit would hold up what this thread serves.
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    inTransaction(database, () => {
      if (versionOf(database, file) === 0) database.exec(SCHEMA)
    })
    return database
  } catch (error) {
    database.close()
    throw named(error, file)
  }
}

/**
 * Opens the file to read only, also while a gateway writes to it.
 * @throws when there is none, or none of this version
 */
export async function openToRead(file: string): Promise<DatabaseSync> {
  if (!existsSync(file))
    throw new DatabaseUnusable(`${file} does not exist: nothing has been counted there yet`)
  const database = await open(file, true)
  try {
    if (versionOf(database, file) === 0) throw new DatabaseUnusable(`${file} has no usage in it`)
    return database
  } catch (error) {
    database.close()
    throw named(error, file)
  }
}

async function open(file: string, readOnly: boolean): Promise<DatabaseSync> {
  const { DatabaseSync } = await import('node:sqlite')
  try {
    return new DatabaseSync(file, { readOnly, timeout: BUSY_MS })
  } catch (error) {
    throw named(error, file)
  }
}

function versionOf(database: DatabaseSync, file: string): number {
  const version = Number(database.prepare('PRAGMA user_version').get()!.user_version)
  if (version > SCHEMA_VERSION) {
    throw new DatabaseUnusable(
      `${file} is of a later version of the gateway (${version}, this one reads ${SCHEMA_VERSION})`,
    )
  }
  return version
}

/** All of `work`, or nothing. */
export function inTransaction(database: DatabaseSync, work: () => void): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    work()
    database.exec('COMMIT')
  } catch (error) {
    // Some failures have rolled it back already
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

function named(error: unknown, file: string): DatabaseUnusable {
  return error instanceof DatabaseUnusable
    ? error
    : new DatabaseUnusable(`${file}: ${(error as Error).message}`, { cause: error })
}
