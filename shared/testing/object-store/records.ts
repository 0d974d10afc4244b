import { z } from 'zod'
import { CHECKSUM_ALGORITHMS } from './checksums.ts'

/** A file under `data/` of a bucket that holds some bytes of an object. */
const blob = z.object({ file: z.string(), size: z.number() })

const checksum = z.object({
  algorithm: z.enum(CHECKSUM_ALGORITHMS),
  value: z.string(),
  type: z.enum(['FULL_OBJECT', 'COMPOSITE']),
})

/** What the client said about the object: content-* and x-amz-meta-* headers, and tags. */
const description = {
  headers: z.record(z.string(), z.string()),
  tags: z.array(z.object({ key: z.string(), value: z.string() })),
}

export const objectRecord = z.object({
  key: z.string(),
  /** One blob for a plain object, one for each part of a multipart object. */
  blobs: z.array(blob),
  size: z.number(),
  etag: z.string(),
  modifiedMs: z.number(),
  ...description,
  checksum: checksum.optional(),
  uploadId: z.string().optional(),
})

export const partRecord = z.object({
  number: z.number(),
  blob,
  etag: z.string(),
  modifiedMs: z.number(),
  checksum: checksum.optional(),
})

export const uploadRecord = z.object({
  uploadId: z.string(),
  key: z.string(),
  startedMs: z.number(),
  ...description,
  checksumAlgorithm: z.enum(CHECKSUM_ALGORITHMS).optional(),
  checksumType: z.enum(['FULL_OBJECT', 'COMPOSITE']).optional(),
})

export const bucketRecord = z.object({ createdMs: z.number(), lifecycle: z.string().optional() })

export type Blob = z.infer<typeof blob>
export type StoredObject = z.infer<typeof objectRecord>
export type StoredPart = z.infer<typeof partRecord>
export type StoredUpload = z.infer<typeof uploadRecord> & { parts: Map<number, StoredPart> }
export type Description = Pick<StoredObject, 'headers' | 'tags'>
