import { AppError } from './errors.ts'

export interface PageRequest {
  limit: number
  /** The id after which the page begins. */
  after: string | undefined
}

export interface Page<Item> {
  items: Item[]
  nextCursor: string | null
}

const defaultLimit = 50

/** Reads `limit` and `cursor` of a list whose cursor is the last item's id. */
export function pageRequest(query: { limit?: string; cursor?: string }): PageRequest {
  if (query.cursor !== undefined && !/^[0-9a-z-]{1,64}$/.test(query.cursor))
    throw new AppError(
      'invalid_request',
      {},
      { fields: [{ path: 'query/cursor', message: 'is not a cursor of this list' }] },
    )
  return { limit: query.limit === undefined ? defaultLimit : Number(query.limit), after: query.cursor }
}

/** Makes a page of rows that were read with one more than the limit, so that the last page is known to be last. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  request: PageRequest,
  idOf: (row: Row) => string,
  toItem: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, request.limit)
  const last = shown[shown.length - 1]
  return { items: shown.map(toItem), nextCursor: rows.length > request.limit && last !== undefined ? idOf(last) : null }
}
