import { notImplemented, sendEmpty, sendXml, type Call } from './answer.ts'
import { checkWrite } from './conditions.ts'
import { S3Fault } from './fault.ts'
import { removeObject } from './files.ts'
import { receiveText } from './receive.ts'
import { headerOf } from './request.ts'
import { branch, childrenOf, leaf, parseXml, textOf, xmlDocument } from './xml.ts'

// S3's limit for one DeleteObjects.
const MAX_DELETES = 1000

/** DeleteObject: 204 whether it was there or not. */
export function deleteObject({ request, response, bucket, key }: Call): void {
  if (headerOf(request, 'if-match') !== undefined) checkWrite(request, bucket.objects.get(key))
  removeObject(bucket, key)
  sendEmpty(response, 204)
}

/** DeleteObjects: up to 1000 keys; a missing key counts as deleted. */
export async function deleteObjects({ request, response, payload, bucket }: Call): Promise<void> {
  const root = parseXml(await receiveText(request, payload, { checksumRequired: true }), 'Delete')
  const objects = childrenOf(root, 'Object')
  if (objects.length === 0 || objects.length > MAX_DELETES) throw new S3Fault('MalformedXML')
  const keys = objects.map((object) => {
    if (textOf(object, 'VersionId') || textOf(object, 'ETag')) notImplemented('VersionId or ETag in DeleteObjects')
    const key = textOf(object, 'Key')
    if (!key) throw new S3Fault('MalformedXML')
    return key
  })
  for (const key of keys) removeObject(bucket, key)
  const quiet = textOf(root, 'Quiet') === 'true'
  const deleted = quiet ? [] : keys.map((key) => branch('Deleted', leaf('Key', key)))
  sendXml(response, xmlDocument('DeleteResult', ...deleted))
}
