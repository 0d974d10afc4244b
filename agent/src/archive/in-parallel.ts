/** Calls `work` for every item, at most `limit` at a time. After the first failure nothing new begins, and it is thrown. */
export async function inParallel<T>(items: T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  let failed = false
  async function takeTurns(): Promise<void> {
    for (const item of queue) {
      if (failed) return
      try {
        await work(item)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, takeTurns))
}
