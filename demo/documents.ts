export interface StoredDocument {
  name: string
  size: number
  sha256: string
  content_type: string | null
  user_id: string
  received_at: string
}

/** What each company has uploaded: the newest entries of the newest companies, so that memory has an end. */
export class Documents {
  readonly #byCompany = new Map<string, StoredDocument[]>()
  readonly #perCompany: number
  readonly #companies: number

  constructor(limits: { perCompany: number; companies: number } = { perCompany: 100, companies: 1_000 }) {
    this.#perCompany = limits.perCompany
    this.#companies = limits.companies
  }

  add(company: string, document: StoredDocument): void {
    const list = this.#byCompany.get(company) ?? []
    list.push(document)
    if (list.length > this.#perCompany) list.shift()
    // Deleted first, so that the map's order is from the longest silent company to the latest.
    this.#byCompany.delete(company)
    this.#byCompany.set(company, list)
    if (this.#byCompany.size <= this.#companies) return
    const oldest = this.#byCompany.keys().next()
    if (!oldest.done) this.#byCompany.delete(oldest.value)
  }

  /** Newest first. */
  of(company: string): StoredDocument[] {
    return (this.#byCompany.get(company) ?? []).toReversed()
  }
}
