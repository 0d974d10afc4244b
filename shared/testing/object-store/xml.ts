import { S3Fault } from './fault.ts'

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
// A tag (with what stands before it); attributes are allowed and ignored, S3's request bodies only carry xmlns.
const TAG = /([^<]*)<(\/?)([A-Za-z_][\w:.-]*)((?:\s+[\w:.-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/gy

export interface XmlNode {
  name: string
  text: string
  children: XmlNode[]
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"\p{Cc}]/gu, (char) => `&#x${char.charCodeAt(0).toString(16)};`)
}

/** `<name>text</name>`, or nothing for undefined. */
export function leaf(name: string, text: string | number | boolean | undefined): string {
  return text === undefined ? '' : `<${name}>${escapeXml(String(text))}</${name}>`
}

/** `<name>` around children that are markup already. */
export function branch(name: string, ...children: string[]): string {
  return `<${name}>${children.join('')}</${name}>`
}

export function xmlDocument(root: string, ...children: string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="${NAMESPACE}">${children.join('')}</${root}>`
}

/**
 * Reads the small XML documents that S3 clients send: elements and text, no DTD, no CDATA, no comments.
 * Throws MalformedXML for everything else.
 */
export function parseXml(source: string, rootName: string): XmlNode {
  const top: XmlNode = { name: '', text: '', children: [] }
  const open = [top]
  const body = source.replace(/^\uFEFF?\s*(<\?xml[^>]*\?>)?/, '').trimEnd()
  TAG.lastIndex = 0
  let end = 0
  for (let match = TAG.exec(body); match; match = TAG.exec(body)) {
    const [, before = '', closing, rawName = '', , empty] = match
    const current = open.at(-1)
    const name = rawName.replace(/^.*:/, '')
    if (!current) throw new S3Fault('MalformedXML')
    current.text += unescapeXml(before)
    if (closing) {
      if (open.length < 2 || current.name !== name) throw new S3Fault('MalformedXML')
      open.pop()
    } else {
      const node: XmlNode = { name, text: '', children: [] }
      current.children.push(node)
      if (!empty) open.push(node)
    }
    end = TAG.lastIndex
  }
  const root = top.children[0]
  if (!root || root.name !== rootName || end !== body.length || open.length !== 1 || top.children.length !== 1) {
    throw new S3Fault('MalformedXML')
  }
  return root
}

export function childrenOf(node: XmlNode, name: string): XmlNode[] {
  return node.children.filter((child) => child.name === name)
}

export function textOf(node: XmlNode, name: string): string | undefined {
  return node.children.find((child) => child.name === name)?.text
}

function unescapeXml(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, (_, entity: string) => {
    if (!entity.startsWith('#')) {
      const char = ENTITIES[entity]
      if (char === undefined) throw new S3Fault('MalformedXML')
      return char
    }
    const code = entity[1] === 'x' ? parseInt(entity.slice(2), 16) : Number(entity.slice(1))
    if (!(code <= 0x10ffff)) throw new S3Fault('MalformedXML')
    return String.fromCodePoint(code)
  })
}
