/** Work that would wait for each other in the server waits here instead, where it takes no lane and nothing can deadlock. */
export interface NameLocks {
  /** Waits until none of the names is held, takes them all at once, works, and lets them go. */
  hold<T>(names: string[], work: () => Promise<T>): Promise<T>
}

export function createNameLocks(): NameLocks {
  const held = new Set<string>()
  const waiting: { names: string[]; start: () => void }[] = []
  const takeAll = (names: string[]): boolean => {
    if (names.some((name) => held.has(name))) return false
    for (const name of names) held.add(name)
    return true
  }
  return {
    async hold(asked, work) {
      const names = [...new Set(asked)]
      if (!takeAll(names)) await new Promise<void>((start) => waiting.push({ names, start }))
      try {
        return await work()
      } finally {
        for (const name of names) held.delete(name)
        const left = waiting.splice(0)
        for (const one of left) {
          if (takeAll(one.names)) one.start()
          else waiting.push(one)
        }
      }
    },
  }
}
