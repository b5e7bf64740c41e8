import { randomBytes, randomUUID, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { type Account, accounts, demoPassword } from './accounts.ts'

interface Password {
  salt: Buffer
  hash: Buffer
}

export interface NewAccount {
  email: string
  /** Absent for a user who comes from a provider. */
  password?: string
  provider: string
  confirmed: boolean
  metadata: Record<string, unknown>
}

const derive = promisify<string, Buffer, number, Buffer>(scrypt)
/** Memory has an end, and signing up needs no permission. */
const mostAccounts = 10_000

/** Those who may sign in: the known accounts and whoever signed up since the start. */
export class AccountStore {
  readonly #byEmail = new Map<string, Account>()
  readonly #passwords = new Map<string, Password>()
  readonly #companies = new Set<string>()

  static async open(): Promise<AccountStore> {
    const store = new AccountStore()
    const password = await hashed(demoPassword)
    for (const account of accounts) {
      // A copy: what its user writes into it ends with this store.
      store.#add({ ...account, metadata: { ...account.metadata } })
      store.#passwords.set(account.id, password)
    }
    return store
  }

  get all(): Account[] {
    return [...this.#byEmail.values()]
  }

  find(email: string): Account | undefined {
    return this.#byEmail.get(email)
  }

  /** Null when there is no room left, or somebody was faster. */
  async create({ email, password, provider, confirmed, metadata }: NewAccount): Promise<Account | null> {
    const secret = password === undefined ? null : await hashed(password)
    if (this.#byEmail.size >= mostAccounts || this.#byEmail.has(email)) return null
    const now = new Date().toISOString()
    const account: Account = {
      id: randomUUID(),
      email,
      company: this.#newCompany(email),
      provider,
      createdAt: now,
      ...(confirmed && { confirmedAt: now }),
      metadata,
    }
    this.#add(account)
    if (secret !== null) this.#passwords.set(account.id, secret)
    return account
  }

  async hasPassword({ id }: Account, password: string): Promise<boolean> {
    const known = this.#passwords.get(id)
    return known !== undefined && timingSafeEqual(known.hash, await derive(password, known.salt, 32))
  }

  async setPassword({ id }: Account, password: string): Promise<void> {
    this.#passwords.set(id, await hashed(password))
  }

  #add(account: Account): void {
    this.#byEmail.set(account.email, account)
    if (account.company !== undefined) this.#companies.add(account.company)
  }

  /**
   * A company named after the domain of the address, and always a new one: an address that anybody can type
   * must not open the door to a company that is already there. Colleagues are invited.
   */
  #newCompany(email: string): string {
    const name = email.slice(email.indexOf('@') + 1).split('.')[0] || 'company'
    for (let number = 1; ; number += 1) {
      const company = number === 1 ? name : `${name}-${number}`
      if (!this.#companies.has(company)) return company
    }
  }
}

async function hashed(password: string): Promise<Password> {
  const salt = randomBytes(16)
  return { salt, hash: await derive(password, salt, 32) }
}
