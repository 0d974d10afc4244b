import { holdDocuments } from './documents.ts'
import type { State } from './state.ts'

/** The queue of document writes, which a test can hold. */
export interface Indexing {
  /** How many are waiting. */
  queued(): number
  /** Resolves when this one may be applied. */
  turn(): Promise<void>
  hold(): void
  fallBehind(queued: number, documents: number): void
  release(): void
}

export function openIndexing(state: State): Indexing {
  let released: { promise: Promise<void>; resolve: () => void } | undefined
  let waiting = 0
  let behind = 0
  let catchUp: (() => void)[] = []
  const indexing: Indexing = {
    queued: () => waiting + behind,
    turn: async () => {
      if (!released) return
      waiting += 1
      try {
        await released.promise
      } finally {
        waiting -= 1
      }
    },
    hold: () => void (released ??= Promise.withResolvers<void>()),
    fallBehind: (queued, documents) => {
      indexing.hold()
      behind = queued
      for (const collection of state.collections.values()) {
        const all = collection.documents
        const shown = holdDocuments()
        for (const [id, document] of all.entries().take(documents)) shown.set(id, Buffer.from(document))
        collection.documents = shown
        catchUp.push(() => void (collection.documents = all))
      }
    },
    release: () => {
      for (const show of catchUp) show()
      catchUp = []
      behind = 0
      released?.resolve()
      released = undefined
    },
  }
  return indexing
}
