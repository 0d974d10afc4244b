import { sendEmpty, sendXml, type Call } from './answer.ts'
import { S3Fault } from './fault.ts'
import { commitObject } from './files.ts'
import { requireObject } from './get-object.ts'
import { receiveText } from './receive.ts'
import { branch, childrenOf, leaf, parseXml, textOf, xmlDocument } from './xml.ts'

// S3's limit for one object.
const MAX_TAGS = 10

export function getTagging({ response, bucket, key }: Call): void {
  const tags = requireObject(bucket, key).tags.map((tag) =>
    branch('Tag', leaf('Key', tag.key), leaf('Value', tag.value)),
  )
  sendXml(response, xmlDocument('Tagging', branch('TagSet', ...tags)))
}

export async function putTagging({ request, response, payload, bucket, key }: Call): Promise<void> {
  requireObject(bucket, key)
  const root = parseXml(await receiveText(request, payload), 'Tagging')
  const tags = childrenOf(root, 'TagSet')
    .flatMap((set) => childrenOf(set, 'Tag'))
    .map((tag) => ({ key: textOf(tag, 'Key') ?? '', value: textOf(tag, 'Value') ?? '' }))
  if (tags.some((tag) => tag.key === '')) throw new S3Fault('MalformedXML')
  if (tags.length > MAX_TAGS) throw new S3Fault('InvalidArgument', 'Object tags cannot be greater than 10')
  commitObject(bucket, { ...requireObject(bucket, key), tags })
  sendEmpty(response, 200)
}

export function deleteTagging({ response, bucket, key }: Call): void {
  commitObject(bucket, { ...requireObject(bucket, key), tags: [] })
  sendEmpty(response, 204)
}
