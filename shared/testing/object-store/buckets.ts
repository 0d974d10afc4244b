import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { z } from 'zod'
import { S3Fault } from './fault.ts'
import {
  bucketRecord,
  objectRecord,
  partRecord,
  uploadRecord,
  type StoredObject,
  type StoredUpload,
} from './records.ts'

/**
 * A bucket on disk, and its catalogue in memory (records only, never content):
 *
 *     <dataDir>/<bucket>/bucket.json
 *                        objects/<sha256 of key>.json   the record of an object; its rename is the commit
 *                        data/<uuid>                    content, named by records
 *                        uploads/<id>/upload.json, <part number>.json
 *                        tmp/<uuid>                     what is being received; emptied at the start
 */
export interface Bucket {
  name: string
  dir: string
  createdMs: number
  lifecycle: string | undefined
  /** A test wants it to. */
  saysVersioned?: boolean
  objects: Map<string, StoredObject>
  uploads: Map<string, StoredUpload>
  /** Keys in UTF-8 binary order; undefined after a key came or went. */
  sortedKeys: string[] | undefined
  /** Readers per file under data/; a file that was replaced meanwhile goes with its last reader. */
  readers: Map<string, number>
  doomed: Set<string>
}

export type Buckets = Map<string, Bucket>

const FOLDERS = ['objects', 'data', 'uploads', 'tmp']

export function openBuckets(dataDir: string): Buckets {
  mkdirSync(dataDir, { recursive: true })
  const buckets: Buckets = new Map()
  for (const name of readdirSync(dataDir)) {
    const dir = join(dataDir, name)
    if (existsSync(join(dir, 'bucket.json'))) buckets.set(name, loadBucket(name, dir))
  }
  return buckets
}

/** Makes the bucket, or returns the one that is there (S3 in us-east-1 does the same for the owner). */
export function makeBucket(buckets: Buckets, dataDir: string, name: string): Bucket {
  const existing = buckets.get(name)
  if (existing) return existing
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) || name.includes('..')) throw new S3Fault('InvalidBucketName')
  const dir = join(dataDir, name)
  for (const folder of FOLDERS) mkdirSync(join(dir, folder), { recursive: true })
  writeRecord(join(dir, 'bucket.json'), { createdMs: Date.now() })
  const bucket = loadBucket(name, dir)
  buckets.set(name, bucket)
  return bucket
}

export function findBucket(buckets: Buckets, name: string): Bucket {
  const bucket = buckets.get(name)
  if (!bucket) throw new S3Fault('NoSuchBucket')
  return bucket
}

export function dropBucket(buckets: Buckets, bucket: Bucket): void {
  if (bucket.objects.size > 0) throw new S3Fault('BucketNotEmpty')
  buckets.delete(bucket.name)
  rmSync(bucket.dir, { recursive: true, force: true })
}

export function setLifecycle(bucket: Bucket, lifecycle: string | undefined): void {
  writeRecord(join(bucket.dir, 'bucket.json'), { createdMs: bucket.createdMs, lifecycle })
  bucket.lifecycle = lifecycle
}

/** Writes a record whole or not at all: to a temporary name, then renamed. */
export function writeRecord(path: string, record: object): void {
  const temporary = `${path}.new`
  writeFileSync(temporary, JSON.stringify(record))
  renameSync(temporary, path)
}

function loadBucket(name: string, dir: string): Bucket {
  rmSync(join(dir, 'tmp'), { recursive: true, force: true })
  for (const folder of FOLDERS) mkdirSync(join(dir, folder), { recursive: true })
  const bucket: Bucket = {
    name,
    dir,
    lifecycle: undefined,
    ...readRecord(join(dir, 'bucket.json'), bucketRecord),
    objects: new Map(),
    uploads: new Map(),
    sortedKeys: undefined,
    readers: new Map(),
    doomed: new Set(),
  }
  for (const file of recordsIn(join(dir, 'objects'))) {
    const object = readRecord(file, objectRecord)
    bucket.objects.set(object.key, object)
  }
  loadUploads(bucket)
  removeStrayData(bucket)
  return bucket
}

function loadUploads(bucket: Bucket): void {
  const completed = new Set([...bucket.objects.values()].map((object) => object.uploadId))
  for (const uploadId of readdirSync(join(bucket.dir, 'uploads'))) {
    const dir = join(bucket.dir, 'uploads', uploadId)
    const files = recordsIn(dir)
    // Killed between the commit of the object and the end of its upload, or before the upload was answered.
    if (completed.has(uploadId) || !files.includes(join(dir, 'upload.json'))) {
      rmSync(dir, { recursive: true, force: true })
      continue
    }
    const parts = files.filter((file) => !file.endsWith('upload.json')).map((file) => readRecord(file, partRecord))
    const upload = readRecord(join(dir, 'upload.json'), uploadRecord)
    bucket.uploads.set(uploadId, { ...upload, parts: new Map(parts.map((part) => [part.number, part])) })
  }
}

function removeStrayData(bucket: Bucket): void {
  const known = new Set<string>()
  for (const object of bucket.objects.values()) for (const blob of object.blobs) known.add(blob.file)
  for (const upload of bucket.uploads.values()) for (const part of upload.parts.values()) known.add(part.blob.file)
  for (const file of readdirSync(join(bucket.dir, 'data'))) {
    if (!known.has(file)) rmSync(join(bucket.dir, 'data', file))
  }
}

function recordsIn(dir: string): string[] {
  return readdirSync(dir)
    .filter((file) => file.endsWith('.json'))
    .map((file) => join(dir, file))
}

function readRecord<Schema extends z.ZodType>(path: string, schema: Schema): z.infer<Schema> {
  return schema.parse(JSON.parse(readFileSync(path, 'utf8')))
}
