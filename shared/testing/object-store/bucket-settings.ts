import { isoTime, sendEmpty, sendXml, type Call } from './answer.ts'
import { dropBucket, setLifecycle, type Buckets } from './buckets.ts'
import { S3Fault } from './fault.ts'
import { receiveText } from './receive.ts'
import { branch, childrenOf, leaf, parseXml, textOf, xmlDocument } from './xml.ts'

export function bucketsDocument(buckets: Buckets, owner: string): string {
  const list = [...buckets.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((bucket) => branch('Bucket', leaf('Name', bucket.name), leaf('CreationDate', isoTime(bucket.createdMs))))
  return xmlDocument('ListAllMyBucketsResult', branch('Owner', leaf('ID', owner)), branch('Buckets', ...list))
}

export function deleteBucket({ response, buckets, bucket }: Call): void {
  dropBucket(buckets, bucket)
  sendEmpty(response, 204)
}

/** us-east-1 is told as an empty element, as S3 does. */
export function getLocation({ response }: Call): void {
  sendXml(response, xmlDocument('LocationConstraint'))
}

/** Never versioned, whatever a test makes it say. */
export function getVersioning({ response, bucket }: Call): void {
  const status = bucket.saysVersioned ? [leaf('Status', 'Enabled')] : []
  sendXml(response, xmlDocument('VersioningConfiguration', ...status))
}

/** Stored and given back as sent; its rules are not carried out: nothing expires in a development server. */
export async function putLifecycle({ request, response, payload, bucket }: Call): Promise<void> {
  const text = await receiveText(request, payload)
  const rules = childrenOf(parseXml(text, 'LifecycleConfiguration'), 'Rule')
  if (rules.length === 0 || rules.some((rule) => !/^(Enabled|Disabled)$/.test(textOf(rule, 'Status') ?? ''))) {
    throw new S3Fault('MalformedXML')
  }
  setLifecycle(bucket, text)
  sendEmpty(response, 200)
}

export function getLifecycle({ response, bucket }: Call): void {
  if (bucket.lifecycle === undefined) throw new S3Fault('NoSuchLifecycleConfiguration')
  sendXml(response, bucket.lifecycle)
}

export function deleteLifecycle({ response, bucket }: Call): void {
  setLifecycle(bucket, undefined)
  sendEmpty(response, 204)
}
