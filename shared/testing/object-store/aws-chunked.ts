import { createHash } from 'node:crypto'
import { S3Fault } from './fault.ts'
import type { ChunkSigner } from './sign.ts'

// A chunk's head or a trailer line longer than this is no such thing.
const MAX_LINE_BYTES = 4096
// AWS SDKs use 64 KiB chunks; a signed chunk is checked before the next one, so a bound keeps lies small.
const MAX_CHUNK_BYTES = 64 * 1024 * 1024
const MAX_TRAILERS = 16

/**
 * Takes the framing off an aws-chunked body (`size[;chunk-signature=…]\r\n bytes\r\n … 0\r\n trailers \r\n`)
 * and yields only content. Trailers go to `trailers` by lower-case name. Nothing is collected: bytes of a chunk are
 * passed on as they come, and its signature is checked at its end, before the object can be committed.
 */
export async function* decodeAwsChunked(
  source: AsyncIterable<Buffer>,
  signer: ChunkSigner | undefined,
  trailers: Map<string, string>,
): AsyncGenerator<Buffer> {
  let pending: Buffer = Buffer.alloc(0)
  const input = source[Symbol.asyncIterator]()
  // Given back however decoding ends: a source that stays held cannot be drained, and its sender would wait for ever.
  await using _input = { [Symbol.asyncDispose]: async () => void (await input.return?.()) }
  const more = async () => {
    const next = await input.next()
    if (next.done) throw new S3Fault('IncompleteBody', 'The aws-chunked body ended before its last chunk.')
    pending = pending.length === 0 ? next.value : Buffer.concat([pending, next.value])
  }
  const line = async () => {
    for (;;) {
      const end = pending.indexOf('\r\n')
      if (end >= 0) {
        const text = pending.toString('latin1', 0, end)
        pending = pending.subarray(end + 2)
        return text
      }
      if (pending.length > MAX_LINE_BYTES) throw new S3Fault('InvalidRequest', 'Malformed aws-chunked body.')
      await more()
    }
  }

  for (;;) {
    const head = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(await line())
    const size = parseInt(head?.[1] ?? '', 16)
    if (!(size <= MAX_CHUNK_BYTES)) throw new S3Fault('InvalidRequest', 'Malformed aws-chunked body.')
    const hash = signer && createHash('sha256')
    for (let left = size; left > 0;) {
      if (pending.length === 0) await more()
      const piece = pending.subarray(0, left)
      pending = pending.subarray(piece.length)
      left -= piece.length
      hash?.update(piece)
      yield piece
    }
    if (hash) signer?.checkChunk(hash.digest('hex'), head?.[2])
    if (size === 0) break
    if ((await line()) !== '') throw new S3Fault('InvalidRequest', 'Malformed aws-chunked body.')
  }

  let signed = ''
  let signature: string | undefined
  for (let text = await line(); text !== ''; text = await line()) {
    const at = text.indexOf(':')
    if (at < 1 || trailers.size >= MAX_TRAILERS) throw new S3Fault('MalformedTrailerError')
    const name = text.slice(0, at).trim().toLowerCase()
    const value = text.slice(at + 1).trim()
    if (name === 'x-amz-trailer-signature') signature = value
    else {
      trailers.set(name, value)
      signed += `${name}:${value}\n`
    }
  }
  if (signer && trailers.size > 0) signer.checkTrailer(signed, signature)
  if (pending.length > 0 || !(await input.next()).done) {
    throw new S3Fault('InvalidRequest', 'There are bytes behind the last chunk.')
  }
}
