/**
 * Walks a list from page to page. `limit` bounds the items, not the requests; without it everything there is comes, so
 * give one where a list can be long.
 */
export async function listAll<Item>(
  fetchPage: (cursor: string | undefined) => Promise<{ items: Item[]; nextCursor: string | null }>,
  limit = Number.POSITIVE_INFINITY,
): Promise<{ items: Item[]; nextCursor: string | null }> {
  const items: Item[] = []
  let cursor: string | undefined
  for (;;) {
    const page = await fetchPage(cursor)
    items.push(...page.items)
    if (page.nextCursor === null || items.length >= limit)
      return { items: items.slice(0, limit), nextCursor: page.nextCursor }
    if (page.nextCursor === cursor) throw new Error('the list answers with the same page for ever')
    cursor = page.nextCursor
  }
}
