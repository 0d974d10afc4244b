import { SyncError } from '@multiboard-sync/shared/sync-error'
import { formatBytes } from '@multiboard-sync/shared/sizes'

/** Whole lines, each with its newline. */
export interface Batch {
  body: Buffer
  lines: number
}

export interface BatchLimits {
  maxLines: number
  /** A line that is larger is a batch of its own. */
  maxBytes: number
}

export interface BatchCutter {
  /** The batches that are full after these further bytes. */
  push(chunk: Buffer): Batch[]
  /** The rest, when all bytes are there; undefined when there is none. Throws when it does not end in a newline. */
  end(): Batch | undefined
}

const newline = 10
/** COPY's quote character: see stream-documents.ts. */
const quoteByte = 1
/** A line is held in memory, twice for a moment. No search needs documents of this size. */
export const mostLineBytes = 16 * 1024 * 1024

/**
 * Cuts bytes at newlines into batches, without decoding them. Throws SyncError `documents-rejected` for a line that is too
 * large, is empty (a NULL), or had to be quoted.
 */
export function cutBatches({ maxLines, maxBytes }: BatchLimits): BatchCutter {
  // What is whole, what has begun since, and their sizes.
  let whole: Buffer[] = []
  let begun: Buffer[] = []
  let [lines, wholeBytes, begunBytes] = [0, 0, 0]
  const take = (): Batch => {
    const batch = { body: Buffer.concat(whole, wholeBytes), lines }
    whole = []
    lines = 0
    wholeBytes = 0
    return batch
  }
  return {
    push(chunk) {
      const batches: Batch[] = []
      // Of this chunk: from where lines are not yet in `whole`, and where the last whole line ends.
      let from = 0
      let end = 0
      for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, end)) {
        const bytes = begunBytes + at + 1 - end
        checkLine(bytes, begun[0]?.[0] ?? chunk[end])
        if (lines > 0 && wholeBytes + bytes > maxBytes) {
          if (end > from) whole.push(chunk.subarray(from, end))
          from = end
          batches.push(take())
        }
        if (begunBytes > 0) {
          whole.push(...begun)
          begun = []
          begunBytes = 0
        }
        lines += 1
        wholeBytes += bytes
        end = at + 1
        if (lines < maxLines && wholeBytes < maxBytes) continue
        whole.push(chunk.subarray(from, end))
        from = end
        batches.push(take())
      }
      if (end > from) whole.push(chunk.subarray(from, end))
      if (end < chunk.length) begun.push(chunk.subarray(end))
      begunBytes += chunk.length - end
      if (begunBytes > mostLineBytes) throw tooLarge()
      return batches
    },
    end() {
      if (begunBytes > 0) {
        throw new SyncError('connection-lost', 'The documents ended in the middle of one.', { retryable: true })
      }
      return lines > 0 ? take() : undefined
    },
  }
}

function checkLine(bytes: number, first: number | undefined): void {
  if (bytes > mostLineBytes) throw tooLarge()
  if (first === newline) {
    throw new SyncError('documents-rejected', 'A row has become no document: its text is NULL.', {
      hint: 'Report this as a bug: the mapping lets no such row through.',
    })
  }
  if (first === quoteByte) {
    throw new SyncError(
      'documents-rejected',
      'A document holds a line break or a control character that JSON escapes.',
      {
        hint: 'Report this as a bug: the mapping makes no such document.',
      },
    )
  }
}

function tooLarge(): SyncError {
  return new SyncError('documents-rejected', `A document is larger than ${formatBytes(mostLineBytes)}.`, {
    hint: 'Leave the large column out of the mapping, or shorten it in `sql:`.',
  })
}
