const lineFeed = 0x0a

export interface LineReader {
  /** The next line with its line feed (the last one may lack it); undefined at the end. */
  next(): Promise<Buffer | undefined>
}

/** Lines as bytes. Not node:readline: that also breaks at U+2028, a lone \r and others, which are data here. */
export function lineReader(chunks: AsyncIterable<Buffer>): LineReader {
  const source = chunks[Symbol.asyncIterator]()
  let chunk: Buffer = Buffer.alloc(0)
  let at = 0
  return {
    next: async () => {
      const begun: Buffer[] = []
      for (;;) {
        const end = chunk.indexOf(lineFeed, at)
        if (end >= 0) {
          begun.push(chunk.subarray(at, end + 1))
          at = end + 1
          break
        }
        if (at < chunk.length) begun.push(chunk.subarray(at))
        const { value, done } = await source.next()
        chunk = done === true ? Buffer.alloc(0) : value
        at = 0
        if (done === true) break
      }
      if (begun.length <= 1) return begun[0]
      return Buffer.concat(begun)
    },
  }
}
