import type { ServerResponse } from 'node:http'
import type { Bucket, Buckets } from './buckets.ts'
import { S3Fault } from './fault.ts'
import type { S3Request } from './request.ts'
import type { Payload } from './sign.ts'

/** Everything an operation on a bucket gets. */
export interface Call {
  request: S3Request
  response: ServerResponse
  payload: Payload
  buckets: Buckets
  bucket: Bucket
  /** Empty for operations on the bucket itself. */
  key: string
}

export function sendXml(response: ServerResponse, xml: string, headers: Record<string, string> = {}): void {
  const bytes = Buffer.from(xml)
  response.writeHead(200, { ...headers, 'content-type': 'application/xml', 'content-length': bytes.length })
  response.end(bytes)
}

export function sendEmpty(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  // A body-less 204 or 304 must not carry a length.
  const length: Record<string, string> = status === 204 || status === 304 ? {} : { 'content-length': '0' }
  response.writeHead(status, { ...headers, ...length })
  response.end()
}

export function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString()
}

export function notImplemented(what: string): never {
  throw new S3Fault('NotImplemented', `${what} is not implemented by this development server.`)
}
