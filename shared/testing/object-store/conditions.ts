import { S3Fault } from './fault.ts'
import type { StoredObject } from './records.ts'
import { headerOf, type S3Request } from './request.ts'

/** If-Match and If-None-Match of a write, against what has the key now. Throws PreconditionFailed (412). */
export function checkWrite(request: S3Request, current: StoredObject | undefined): void {
  const noneMatch = headerOf(request, 'if-none-match')
  const match = headerOf(request, 'if-match')
  if (noneMatch !== undefined && noneMatch !== '*') {
    throw new S3Fault('NotImplemented', 'If-None-Match of a write can only be *.')
  }
  if (noneMatch === '*' && current) throw new S3Fault('PreconditionFailed')
  if (match === undefined) return
  if (!current) throw new S3Fault('NoSuchKey')
  if (!hasTag(match, current.etag)) throw new S3Fault('PreconditionFailed')
}

/** 'not-modified' when a read may be answered 304; throws PreconditionFailed (412). Order as in RFC 9110, 13.2.2. */
export function checkRead(request: S3Request, object: StoredObject, prefix = ''): 'proceed' | 'not-modified' {
  const match = headerOf(request, `${prefix}if-match`)
  const noneMatch = headerOf(request, `${prefix}if-none-match`)
  const unmodifiedSince = headerOf(request, `${prefix}if-unmodified-since`)
  const modifiedSince = headerOf(request, `${prefix}if-modified-since`)
  if (match !== undefined) {
    if (!hasTag(match, object.etag)) throw new S3Fault('PreconditionFailed')
  } else if (unmodifiedSince !== undefined && seconds(object.modifiedMs) > seconds(Date.parse(unmodifiedSince))) {
    throw new S3Fault('PreconditionFailed')
  }
  if (noneMatch !== undefined) return hasTag(noneMatch, object.etag) ? 'not-modified' : 'proceed'
  const unchanged = modifiedSince !== undefined && seconds(object.modifiedMs) <= seconds(Date.parse(modifiedSince))
  return unchanged ? 'not-modified' : 'proceed'
}

function hasTag(list: string, etag: string): boolean {
  return list.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^"|"$/g, '') === etag)
}

/** HTTP dates have no milliseconds. */
function seconds(timeMs: number): number {
  return Math.floor(timeMs / 1000)
}
