import { startTypesense } from '../../shared/testing/typesense.ts'
import type { SearchServer } from '../search-server.ts'

/*
 * The stand-in for a search server, as a process of its own: what it does is not the agent's. One message asks it to begin:
 * with `keep` it holds its documents, else it counts them.
 */

process.once('message', ({ keep }: { keep: boolean }) => {
  void startTypesense({ keepDocuments: keep }).then(({ url, apiKey }) => {
    const listening: SearchServer = { url, apiKey }
    process.send?.(listening)
  })
})
process.on('disconnect', () => process.exit())
