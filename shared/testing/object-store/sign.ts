import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { S3Fault } from './fault.ts'
import { headerOf, queryOf, type S3Request } from './request.ts'

const ALGORITHM = 'AWS4-HMAC-SHA256'
// S3 refuses a signature whose clock is off by more than a quarter of an hour.
const MAX_SKEW_MS = 15 * 60_000
// A presigned URL lives a week at most.
const MAX_EXPIRES_SECONDS = 604_800
const EMPTY_SHA256 = createHash('sha256').digest('hex')

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
  region: string
}

/** Checks the signatures inside an aws-chunked body; each is chained to the one before. */
export interface ChunkSigner {
  checkChunk(sha256: string, signature: string | undefined): void
  checkTrailer(trailer: string, signature: string | undefined): void
}

/** What the signature says about the body. */
export type Payload =
  | { kind: 'unsigned' }
  | { kind: 'hashed'; sha256: string }
  | { kind: 'chunked'; trailer: boolean; signer: ChunkSigner | undefined }

interface Claim {
  credential: string
  signedHeaders: string[]
  signature: string
  date: string
  payloadHash: string
  presigned: boolean
}

/**
 * Verifies AWS Signature Version 4, from the header or from a presigned URL
 * (docs.aws.amazon.com, "Authenticating Requests (AWS Signature Version 4)").
 * Returns what the body must look like; throws the fault that S3 would answer with.
 */
export function verifySignature(request: S3Request, credentials: Credentials, nowMs: number): Payload {
  const claim = readClaim(request, nowMs)
  const malformed = claim.presigned ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed'
  const [accessKeyId, day, region, service, end, ...rest] = claim.credential.split('/')
  if (service !== 's3' || end !== 'aws4_request' || rest.length > 0 || !day || claim.date.slice(0, 8) !== day) {
    throw new S3Fault(malformed, 'The credential is not of the form key/date/region/s3/aws4_request.')
  }
  if (accessKeyId !== credentials.accessKeyId) throw new S3Fault('InvalidAccessKeyId')
  if (region !== credentials.region) {
    throw new S3Fault(malformed, `The region '${region}' is wrong; expecting '${credentials.region}'`)
  }
  refuseUnsignedHeaders(request, claim)

  const scope = `${day}/${region}/s3/aws4_request`
  const key = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(
    (parent, part) => hmac(parent, part),
    `AWS4${credentials.secretAccessKey}`,
  ) as Buffer
  const canonical = canonicalRequest(request, claim)
  const expected = hmac(key, [ALGORITHM, claim.date, scope, sha256(canonical)].join('\n')).toString('hex')
  if (!sameText(expected, claim.signature)) throw new S3Fault('SignatureDoesNotMatch')
  return payloadOf(claim.payloadHash, () => chunkSigner(key, claim.date, scope, expected))
}

function readClaim(request: S3Request, nowMs: number): Claim {
  if (queryOf(request, 'X-Amz-Algorithm') !== undefined) return readPresigned(request, nowMs)
  const header = headerOf(request, 'authorization')
  if (header === undefined) throw new S3Fault('AccessDenied')
  const match = /^AWS4-HMAC-SHA256 +Credential=([^, ]+), *SignedHeaders=([^, ]+), *Signature=([0-9a-f]{64})$/.exec(
    header,
  )
  const date = headerOf(request, 'x-amz-date') ?? ''
  if (!match?.[1] || !match[2] || !match[3]) throw new S3Fault('AuthorizationHeaderMalformed')
  if (Math.abs(dateMs(date) - nowMs) > MAX_SKEW_MS) throw new S3Fault('RequestTimeTooSkewed')
  const payloadHash = headerOf(request, 'x-amz-content-sha256')
  if (!payloadHash) {
    throw new S3Fault('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256')
  }
  const signedHeaders = match[2].split(';')
  return { credential: match[1], signedHeaders, signature: match[3], date, payloadHash, presigned: false }
}

function readPresigned(request: S3Request, nowMs: number): Claim {
  const need = (name: string) => {
    const value = queryOf(request, name)
    if (!value) throw new S3Fault('AuthorizationQueryParametersError', `Missing parameter ${name}.`)
    return value
  }
  const date = need('X-Amz-Date')
  const expiresSeconds = Number(need('X-Amz-Expires'))
  if (need('X-Amz-Algorithm') !== ALGORITHM || !(expiresSeconds > 0 && expiresSeconds <= MAX_EXPIRES_SECONDS)) {
    throw new S3Fault('AuthorizationQueryParametersError')
  }
  if (nowMs > dateMs(date) + expiresSeconds * 1000) throw new S3Fault('AccessDenied', 'Request has expired')
  if (dateMs(date) - nowMs > MAX_SKEW_MS) throw new S3Fault('AccessDenied', 'Request is not yet valid')
  return {
    credential: need('X-Amz-Credential'),
    signedHeaders: need('X-Amz-SignedHeaders').split(';'),
    signature: need('X-Amz-Signature'),
    date,
    payloadHash: headerOf(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD',
    presigned: true,
  }
}

function refuseUnsignedHeaders(request: S3Request, claim: Claim): void {
  const signed = new Set(claim.signedHeaders)
  const open = Object.keys(request.message.headers).filter((name) => name.startsWith('x-amz-') && !signed.has(name))
  if (open.length > 0 || !signed.has('host')) {
    throw new S3Fault('AccessDenied', 'There were headers present in the request which were not signed')
  }
}

function canonicalRequest(request: S3Request, claim: Claim): string {
  const query = request.query
    .filter((pair) => pair[0] !== 'X-Amz-Signature')
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort((a, b) => compareAscii(a[0], b[0]) || compareAscii(a[1], b[1]))
    .map((pair) => pair.join('='))
  const headers = claim.signedHeaders.map((name) => {
    const value = request.message.headers[name]
    const text = Array.isArray(value) ? value.join(',') : (value ?? '')
    return `${name}:${text.trim().replace(/ +/g, ' ')}\n`
  })
  const path = request.path.split('/').map(encode).join('/')
  return [
    request.method,
    path,
    query.join('&'),
    headers.join(''),
    claim.signedHeaders.join(';'),
    claim.payloadHash,
  ].join('\n')
}

function payloadOf(hash: string, signer: () => ChunkSigner): Payload {
  if (hash === 'UNSIGNED-PAYLOAD') return { kind: 'unsigned' }
  if (hash === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') return { kind: 'chunked', trailer: true, signer: undefined }
  if (hash === 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD') return { kind: 'chunked', trailer: false, signer: signer() }
  if (hash === 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER') return { kind: 'chunked', trailer: true, signer: signer() }
  if (/^[0-9a-f]{64}$/.test(hash)) return { kind: 'hashed', sha256: hash }
  if (hash.startsWith('STREAMING-')) throw new S3Fault('NotImplemented', `${hash} is not implemented.`)
  throw new S3Fault('InvalidArgument', 'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-… or a SHA-256.')
}

function chunkSigner(key: Buffer, date: string, scope: string, seed: string): ChunkSigner {
  let previous = seed
  const check = (lines: string[], signature: string | undefined) => {
    const expected = hmac(key, lines.join('\n')).toString('hex')
    if (signature === undefined || !sameText(expected, signature)) throw new S3Fault('SignatureDoesNotMatch')
    previous = expected
  }
  return {
    checkChunk(chunkSha256, signature) {
      check([`${ALGORITHM}-PAYLOAD`, date, scope, previous, EMPTY_SHA256, chunkSha256], signature)
    },
    checkTrailer(trailer, signature) {
      check([`${ALGORITHM}-TRAILER`, date, scope, previous, sha256(trailer)], signature)
    },
  }
}

function dateMs(text: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (!match) throw new S3Fault('AccessDenied', 'A date of the form 20260131T235959Z is required.')
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  return Date.UTC(year, month - 1, day, hour, minute, second)
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function compareAscii(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function sameText(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}
