import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeRecord, type Bucket } from './buckets.ts'
import { S3Fault } from './fault.ts'
import { dropBlobs } from './files.ts'
import type { StoredPart, StoredUpload } from './records.ts'

/** Opens an upload; it is on disk before its id is told, so it outlives client and server. */
export function openUpload(
  bucket: Bucket,
  upload: Omit<StoredUpload, 'uploadId' | 'startedMs' | 'parts'>,
): StoredUpload {
  const startedMs = Date.now()
  // The time in front, in microseconds, makes ids of one key sort by age, as listings want them.
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000)
  const uploadId = `${micros.toString(16).padStart(14, '0')}${randomBytes(16).toString('hex')}`
  const stored = { ...upload, uploadId, startedMs }
  mkdirSync(uploadDir(bucket, uploadId))
  writeRecord(join(uploadDir(bucket, uploadId), 'upload.json'), stored)
  const opened = { ...stored, parts: new Map<number, StoredPart>() }
  bucket.uploads.set(uploadId, opened)
  return opened
}

export function findUpload(bucket: Bucket, key: string, uploadId: string): StoredUpload {
  const upload = bucket.uploads.get(uploadId)
  if (!upload || upload.key !== key) throw new S3Fault('NoSuchUpload')
  return upload
}

/** Puts the part in place of an earlier one with its number. */
export function commitPart(bucket: Bucket, upload: StoredUpload, part: StoredPart): void {
  const old = upload.parts.get(part.number)
  writeRecord(join(uploadDir(bucket, upload.uploadId), `${part.number}.json`), part)
  upload.parts.set(part.number, part)
  if (old) dropBlobs(bucket, [old.blob])
}

/** Forgets the upload and the parts that no object has taken over. */
export function closeUpload(bucket: Bucket, upload: StoredUpload, taken: ReadonlySet<StoredPart> = new Set()): void {
  rmSync(uploadDir(bucket, upload.uploadId), { recursive: true, force: true })
  bucket.uploads.delete(upload.uploadId)
  const left = [...upload.parts.values()].filter((part) => !taken.has(part))
  dropBlobs(
    bucket,
    left.map((part) => part.blob),
  )
}

function uploadDir(bucket: Bucket, uploadId: string): string {
  return join(bucket.dir, 'uploads', uploadId)
}
