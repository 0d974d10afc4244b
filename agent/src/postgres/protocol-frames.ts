/** PostgreSQL's protocol 3.0 after the startup: one byte of type, four of length (with itself), body. */

const headBytes = 5

/** Cuts a stream of bytes into whole messages, whatever pieces it comes in. */
export class FrameReader {
  #rest: Buffer[] = []
  #restBytes = 0
  /** Bytes that the message in hand needs; below them nothing is joined, so large messages are not copied per piece. */
  #needed = headBytes

  push(bytes: Buffer): Buffer[] {
    this.#rest.push(bytes)
    this.#restBytes += bytes.length
    if (this.#restBytes < this.#needed) return []
    let buffer = Buffer.concat(this.#rest)
    const frames: Buffer[] = []
    this.#needed = headBytes
    while (buffer.length >= headBytes) {
      const length = 1 + buffer.readInt32BE(1)
      if (length < headBytes) throw new Error('a message shorter than its head')
      if (buffer.length < length) {
        this.#needed = length
        break
      }
      frames.push(buffer.subarray(0, length))
      buffer = buffer.subarray(length)
    }
    this.#rest = [buffer]
    this.#restBytes = buffer.length
    return frames
  }
}

/** Under node-pg's names. */
export interface ServerErrorFields {
  code: string
  message: string
  where?: string
}

/** Reads an ErrorResponse. */
export function parseServerError(frame: Buffer): ServerErrorFields {
  const fields = new Map<string, string>()
  for (const field of frame.subarray(headBytes).toString('utf8').split('\0')) {
    if (field !== '') fields.set(field.charAt(0), field.slice(1))
  }
  const where = fields.get('W')
  return { code: fields.get('C') ?? '', message: fields.get('M') ?? '', ...(where === undefined ? {} : { where }) }
}
