import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { decodeAwsChunked } from '../testing/object-store/aws-chunked.ts'
import { CHECKSUM_ALGORITHMS, startChecksum } from '../testing/object-store/checksums.ts'
import { parseRequest } from '../testing/object-store/request.ts'
import { verifySignature, type Payload } from '../testing/object-store/sign.ts'

// The worked examples of AWS's own documentation, "Signature calculations for the Authorization header: transferring
// payload in multiple chunks"; with and without a trailer.
const credentials = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  region: 'us-east-1',
}
const NOW_MS = Date.UTC(2013, 4, 24, 0, 5)

const PLAIN = {
  seed: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
  chunks: [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ],
  headers: {
    'content-encoding': 'aws-chunked',
    'content-length': '66824',
    host: 's3.amazonaws.com',
    'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
    'x-amz-date': '20130524T000000Z',
    'x-amz-decoded-content-length': '66560',
    'x-amz-storage-class': 'REDUCED_REDUNDANCY',
  },
}

function verify(nowMs = NOW_MS, headers: Record<string, string> = PLAIN.headers): Payload {
  const signed = Object.keys(PLAIN.headers).join(';')
  const credential = `${credentials.accessKeyId}/20130524/us-east-1/s3/aws4_request`
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=${signed},Signature=${PLAIN.seed}`
  const message = { method: 'PUT', url: '/examplebucket/chunkObject.txt', headers: { ...headers, authorization } }
  const request = parseRequest(message as unknown as IncomingMessage, () => {})
  return verifySignature(request, credentials, nowMs)
}

function framed(chunks: string[], fill = 'a'): Buffer {
  const sizes = [65_536, 1024, 0]
  const frames = chunks.map(
    (signature, at) =>
      `${sizes[at]?.toString(16)};chunk-signature=${signature}\r\n${fill.repeat(sizes[at] ?? 0)}${sizes[at] ? '\r\n' : ''}`,
  )
  return Buffer.from(`${frames.join('')}\r\n`)
}

async function decode(body: Buffer, pieceBytes: number): Promise<Buffer> {
  const payload = verify()
  if (payload.kind !== 'chunked' || !payload.signer) throw new Error('The payload is not taken for signed chunks.')
  async function* pieces() {
    for (let at = 0; at < body.length; at += pieceBytes) yield body.subarray(at, at + pieceBytes)
  }
  return Buffer.concat(await Array.fromAsync(decodeAwsChunked(pieces(), payload.signer, new Map())))
}

test.for([1, 7, 4096, 1_000_000])(
  'the documented signed chunks decode, read %i bytes at a time',
  async (pieceBytes) => {
    expect((await decode(framed(PLAIN.chunks), pieceBytes)).equals(Buffer.alloc(66_560, 'a'))).toBe(true)
  },
)

test('a changed byte, a swapped chunk signature and a body cut short are refused', async () => {
  const [first = '', second = '', last = ''] = PLAIN.chunks
  await expect(decode(framed(PLAIN.chunks, 'b'), 4096)).rejects.toMatchObject({ code: 'SignatureDoesNotMatch' })
  await expect(decode(framed([second, first, last]), 4096)).rejects.toMatchObject({ code: 'SignatureDoesNotMatch' })
  await expect(decode(framed([first, second]), 4096)).rejects.toMatchObject({ code: 'InvalidRequest' })
  await expect(decode(framed(PLAIN.chunks).subarray(0, 30_000), 4096)).rejects.toMatchObject({ code: 'IncompleteBody' })
})

test('a changed header, an unsigned x-amz header and a clock 16 minutes off are refused', () => {
  expect(() => verify(NOW_MS, { ...PLAIN.headers, host: 'elsewhere' })).toThrow(/does not match/)
  expect(() => verify(NOW_MS, { ...PLAIN.headers, 'x-amz-acl': 'private' })).toThrow(/not signed/)
  expect(() => verify(NOW_MS + 12 * 60_000)).toThrow(/difference between the request time/)
})

test('every checksum has the published value of "123456789"', () => {
  const hex = CHECKSUM_ALGORITHMS.map((algorithm) => {
    const running = startChecksum(algorithm)
    running.update(Buffer.from('1234'))
    running.update(Buffer.from('56789'))
    return running.digest().toString('hex')
  })
  expect(hex).toEqual([
    'cbf43926',
    'e3069283',
    'ae8b14860a799888',
    'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
    '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
  ])
})
