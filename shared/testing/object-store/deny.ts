import { S3Fault } from './fault.ts'
import type { S3Request } from './request.ts'

/** What Amazon calls the right that a request needs (Amazon S3 API reference, "Permissions" of each operation). */
const RIGHTS: Record<string, string> = {
  'GET bucket': 's3:ListBucket',
  'HEAD bucket': 's3:ListBucket',
  'GET bucket ?uploads': 's3:ListBucketMultipartUploads',
  'GET bucket ?versioning': 's3:GetBucketVersioning',
  'GET object': 's3:GetObject',
  'HEAD object': 's3:GetObject',
  'PUT object': 's3:PutObject',
  'PUT object ?uploadId': 's3:PutObject',
  'POST object ?uploads': 's3:PutObject',
  'POST object ?uploadId': 's3:PutObject',
  'DELETE object': 's3:DeleteObject',
  'DELETE object ?uploadId': 's3:AbortMultipartUpload',
}

/** Throws AccessDenied where the request needs one of these rights. */
export function refuseDenied(denied: ReadonlySet<string>, request: S3Request): void {
  if (denied.size === 0) return
  const named = request.query.map(([name]) => name).find((name) => ['uploads', 'versioning', 'uploadId'].includes(name))
  const what = `${request.method} ${request.key === undefined ? 'bucket' : 'object'}${named === undefined ? '' : ` ?${named}`}`
  if (denied.has(RIGHTS[what] ?? what)) throw new S3Fault('AccessDenied')
}
