import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { finished } from 'node:stream/promises'
import { sendEmpty, sendXml, type Call } from './answer.ts'
import { bucketsDocument } from './bucket-settings.ts'
import { findBucket, makeBucket, type Buckets } from './buckets.ts'
import { refuseDenied } from './deny.ts'
import { S3Fault } from './fault.ts'
import { receiveText } from './receive.ts'
import { parseRequest, type S3Request } from './request.ts'
import { findOperation } from './routes.ts'
import { verifySignature, type Credentials } from './sign.ts'
import { escapeXml, leaf } from './xml.ts'

export interface Serving {
  buckets: Buckets
  dataDir: string
  credentials: Credentials
  /** Rights that the key lacks: `s3:PutObject`. */
  denied: ReadonlySet<string>
}

/** Handles one request to its end; never rejects. */
export async function serve(serving: Serving, message: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader('x-amz-request-id', randomBytes(8).toString('hex').toUpperCase())
  try {
    await answer(serving, message, response)
  } catch (error) {
    await answerFault(error, message, response)
  }
}

async function answer(serving: Serving, message: IncomingMessage, response: ServerResponse): Promise<void> {
  const waits = message.headers.expect?.toLowerCase() === '100-continue'
  const request = parseRequest(message, () => waits && response.writeContinue())
  const payload = verifySignature(request, serving.credentials, Date.now())
  if (request.bucket === undefined) {
    if (request.method !== 'GET') throw new S3Fault('MethodNotAllowed')
    return sendXml(response, bucketsDocument(serving.buckets, serving.credentials.accessKeyId))
  }
  if (isCreateBucket(request)) {
    await receiveText(request, payload)
    makeBucket(serving.buckets, serving.dataDir, request.bucket)
    return sendEmpty(response, 200, { location: `/${request.bucket}` })
  }
  const operation = findOperation(request)
  const bucket = findBucket(serving.buckets, request.bucket)
  refuseDenied(serving.denied, request)
  const call: Call = { request, response, payload, buckets: serving.buckets, bucket, key: request.key ?? '' }
  await operation(call)
}

function isCreateBucket(request: S3Request): boolean {
  return request.method === 'PUT' && request.key === undefined && request.query.every((pair) => /^x-/i.test(pair[0]))
}

/** S3's error document. What is not an S3 fault is ours: told as InternalError, with its message, to be found in a test. */
async function answerFault(error: unknown, message: IncomingMessage, response: ServerResponse): Promise<void> {
  // The client went away, or the answer has begun: there is nobody to tell, only a connection to end.
  if (response.headersSent || response.destroyed) return void response.destroy()
  const fault = error instanceof S3Fault ? error : new S3Fault('InternalError', String(error), { cause: error })
  if (!(await drain(message, response))) return
  const requestId = String(response.getHeader('x-amz-request-id'))
  const xml = Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${leaf('Code', fault.code)}<Message>${escapeXml(fault.message)}` +
      `</Message>${leaf('Resource', message.url?.split('?')[0])}${leaf('RequestId', requestId)}</Error>`,
  )
  response.writeHead(fault.status, { 'content-type': 'application/xml', 'content-length': xml.length })
  response.end(message.method === 'HEAD' ? undefined : xml)
}

/**
 * Takes in what is left of the body, so that a client that reads only after it has written gets the answer.
 * One that waits for `100 Continue` has not begun to write: it is answered at once and the connection ends.
 */
async function drain(message: IncomingMessage, response: ServerResponse): Promise<boolean> {
  if (message.complete && message.readableEnded) return true
  if (message.headers.expect !== undefined && !message.readableDidRead) {
    response.setHeader('connection', 'close')
    return true
  }
  try {
    message.resume()
    await finished(message)
    return true
  } catch {
    // The client closed the connection in the middle of its body; there is nobody to answer.
    return false
  }
}
