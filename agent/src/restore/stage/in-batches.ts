/**
 * Work that many small things share: whoever comes while the last batch has not begun goes with it, up to so many. `work`
 * is called once a batch, waits until it may begin, and takes then what has come together. Each caller waits for its batch.
 */
export function inBatches<T>(most: number, work: (take: () => T[]) => Promise<void>): (item: T) => Promise<void> {
  let open: { items: T[]; done: Promise<void> } | undefined
  const begin = (): { items: T[]; done: Promise<void> } => {
    const items: T[] = []
    const take = (): T[] => {
      if (open?.items === items) open = undefined
      return items
    }
    return { items, done: work(take) }
  }
  return async (item) => {
    if (!open || open.items.length >= most) open = begin()
    const { items, done } = open
    items.push(item)
    await done
  }
}
