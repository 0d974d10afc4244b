import { notImplemented, sendEmpty, type Call } from './answer.ts'
import {
  deleteBucket,
  deleteLifecycle,
  getLifecycle,
  getLocation,
  getVersioning,
  putLifecycle,
} from './bucket-settings.ts'
import { completeMultipartUpload } from './complete-upload.ts'
import { copyObject } from './copy-object.ts'
import { deleteObject, deleteObjects } from './delete-objects.ts'
import { S3Fault } from './fault.ts'
import { getObject } from './get-object.ts'
import { listMultipartUploads, listParts } from './list-uploads.ts'
import { listObjects } from './listing.ts'
import { abortMultipartUpload, createMultipartUpload, uploadPart, uploadPartCopy } from './multipart.ts'
import { putObject } from './put-object.ts'
import { headerOf, type S3Request } from './request.ts'
import { deleteTagging, getTagging, putTagging } from './tagging.ts'

type Operation = (call: Call) => void | Promise<void>

const BUCKET_OPERATIONS: Record<string, Operation> = {
  GET: listObjects,
  HEAD: ({ response }) => sendEmpty(response, 200, { 'x-amz-bucket-region': 'us-east-1' }),
  DELETE: deleteBucket,
  'GET ?uploads': listMultipartUploads,
  'POST ?delete': deleteObjects,
  'GET ?location': getLocation,
  'GET ?versioning': getVersioning,
  'GET ?lifecycle': getLifecycle,
  'PUT ?lifecycle': putLifecycle,
  'DELETE ?lifecycle': deleteLifecycle,
}

const OBJECT_OPERATIONS: Record<string, Operation> = {
  GET: getObject,
  HEAD: getObject,
  PUT: async (call) => await (headerOf(call.request, 'x-amz-copy-source') ? copyObject(call) : putObject(call)),
  DELETE: deleteObject,
  'GET ?tagging': getTagging,
  'PUT ?tagging': putTagging,
  'DELETE ?tagging': deleteTagging,
  'POST ?uploads': createMultipartUpload,
  'GET ?uploadId': listParts,
  'PUT ?uploadId': async (call) =>
    await (headerOf(call.request, 'x-amz-copy-source') ? uploadPartCopy(call) : uploadPart(call)),
  'POST ?uploadId': completeMultipartUpload,
  'DELETE ?uploadId': abortMultipartUpload,
}

// Parameters that refine an operation; any other one names an operation, and an unknown operation is answered 501
// instead of being taken for a plain GET or PUT (a PUT ?tagging that replaces the object is the classic).
const REFINING = new Set([
  'x-id',
  'list-type',
  'prefix',
  'delimiter',
  'marker',
  'max-keys',
  'continuation-token',
  'start-after',
  'fetch-owner',
  'encoding-type',
  'key-marker',
  'upload-id-marker',
  'max-uploads',
  'part-number-marker',
  'max-parts',
  'partNumber',
])

export function findOperation(request: S3Request): Operation {
  const named = request.query
    .map((pair) => pair[0])
    .filter((name) => !REFINING.has(name) && !/^(x-amz|response)-/i.test(name))
  const table = request.key === undefined ? BUCKET_OPERATIONS : OBJECT_OPERATIONS
  const operation = table[[request.method, ...named.map((name) => `?${name}`)].join(' ')]
  if (operation) return operation
  if (named.length > 0) notImplemented(`${request.method} ?${named.join('&')}`)
  if (request.method === 'POST') notImplemented('A form upload')
  throw new S3Fault('MethodNotAllowed')
}
