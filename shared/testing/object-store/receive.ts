import { createHash } from 'node:crypto'
import { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { decodeAwsChunked } from './aws-chunked.ts'
import {
  CHECKSUM_ALGORITHMS,
  checksumHeader,
  parseChecksumValue,
  startChecksum,
  type Checksum,
  type ChecksumAlgorithm,
} from './checksums.ts'
import { S3Fault } from './fault.ts'
import { headerOf, type S3Request } from './request.ts'
import type { Payload } from './sign.ts'

// S3's limit for one PUT or one part.
const MAX_BODY_BYTES = 5 * 1024 ** 3
// S3 allows 1 MiB for a list of keys to delete; a full list of parts is about as long.
const MAX_DOCUMENT_BYTES = 2 * 1024 ** 2

export interface Received {
  size: number
  md5: Buffer
  checksum: Checksum | undefined
}

interface BodyOptions {
  /** Computed when the client promised none. */
  algorithm?: ChecksumAlgorithm | undefined
  /** The checksum headers are not of this body (CompleteMultipartUpload). */
  headersSpeakOfObject?: boolean
}

interface Promised {
  algorithm: ChecksumAlgorithm
  /** Undefined when the value comes as a trailer. */
  value: string | undefined
}

/**
 * Streams the body into the sink and then holds it against everything that was promised about it: length, SHA-256 of
 * the signature, chunk signatures, Content-MD5, checksum header or trailer. Throws the first that does not hold;
 * whoever owns the sink's file must then drop it.
 */
export async function receiveBody(
  request: S3Request,
  payload: Payload,
  sink: Writable,
  { algorithm, headersSpeakOfObject = false }: BodyOptions = {},
): Promise<Received> {
  const expectedBytes = expectedLength(request, payload)
  const promised = headersSpeakOfObject ? undefined : promisedChecksum(request, payload)
  const wantedMd5 = contentMd5(request)
  const md5 = createHash('md5')
  const sha256 = payload.kind === 'hashed' ? createHash('sha256') : undefined
  const computed = promised?.algorithm ?? algorithm
  const running = computed && startChecksum(computed)
  const trailers = new Map<string, string>()
  let size = 0

  request.welcomeBody()
  // The iterator must not destroy the request when a check fails, or the client would never see the answer.
  const raw = request.message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  const content = payload.kind === 'chunked' ? decodeAwsChunked(raw, payload.signer, trailers) : raw
  await pipeline(async function* () {
    for await (const chunk of content) {
      size += chunk.length
      if (size > expectedBytes) throw new S3Fault('IncompleteBody', 'The body is longer than announced.')
      md5.update(chunk)
      sha256?.update(chunk)
      running?.update(chunk)
      yield chunk
    }
  }, sink)

  if (size !== expectedBytes) throw new S3Fault('IncompleteBody')
  if (payload.kind === 'hashed' && sha256?.digest('hex') !== payload.sha256)
    throw new S3Fault('XAmzContentSHA256Mismatch')
  const digest = md5.digest()
  if (wantedMd5 && !wantedMd5.equals(digest)) {
    throw new S3Fault('BadDigest', 'The Content-MD5 you specified did not match what we received.')
  }
  if (!computed || !running) return { size, md5: digest, checksum: undefined }
  const value = running.digest().toString('base64')
  if (promised) requireSame(promised, trailers, value)
  return { size, md5: digest, checksum: { algorithm: computed, value, type: 'FULL_OBJECT' } }
}

/** Reads a small body, such as an XML document, with the same checks. */
export async function receiveText(
  request: S3Request,
  payload: Payload,
  { checksumRequired = false, ...options }: BodyOptions & { checksumRequired?: boolean } = {},
): Promise<string> {
  if (expectedLength(request, payload) > MAX_DOCUMENT_BYTES) throw new S3Fault('EntityTooLarge')
  if (checksumRequired && !contentMd5(request) && !promisedChecksum(request, payload)) {
    throw new S3Fault('InvalidRequest', 'Missing required header for this request: Content-MD5')
  }
  const chunks: Buffer[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  await receiveBody(request, payload, sink, options)
  return Buffer.concat(chunks).toString()
}

function expectedLength(request: S3Request, payload: Payload): number {
  const name = payload.kind === 'chunked' ? 'x-amz-decoded-content-length' : 'content-length'
  const text = headerOf(request, name)
  const bodyless = text === undefined && headerOf(request, 'transfer-encoding') === undefined
  if (bodyless && payload.kind !== 'chunked') return 0
  if (text === undefined || !/^\d{1,16}$/.test(text)) throw new S3Fault('MissingContentLength')
  if (Number(text) > MAX_BODY_BYTES) throw new S3Fault('EntityTooLarge')
  return Number(text)
}

function promisedChecksum(request: S3Request, payload: Payload): Promised | undefined {
  const trailer = payload.kind === 'chunked' && payload.trailer ? (headerOf(request, 'x-amz-trailer') ?? '') : ''
  const trailing = trailer.split(',').map((name) => name.trim().toLowerCase())
  const promised = CHECKSUM_ALGORITHMS.flatMap((algorithm): Promised[] => {
    const name = checksumHeader(algorithm)
    const value = headerOf(request, name)
    if (value !== undefined) return [{ algorithm, value: parseChecksumValue(algorithm, value) }]
    return trailing.includes(name) ? [{ algorithm, value: undefined }] : []
  })
  if (promised.length > 1) throw new S3Fault('InvalidRequest', 'Expecting a single x-amz-checksum- header.')
  return promised[0]
}

function requireSame(promised: Promised, trailers: Map<string, string>, value: string): void {
  const { algorithm } = promised
  const trailer = trailers.get(checksumHeader(algorithm))
  if (promised.value === undefined && trailer === undefined) throw new S3Fault('MalformedTrailerError')
  const expected = promised.value ?? parseChecksumValue(algorithm, trailer ?? '')
  if (expected !== value) {
    throw new S3Fault('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`)
  }
}

function contentMd5(request: S3Request): Buffer | undefined {
  const text = headerOf(request, 'content-md5')
  if (text === undefined) return undefined
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length !== 16 || bytes.toString('base64') !== text) throw new S3Fault('InvalidDigest')
  return bytes
}
