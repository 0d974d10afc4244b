/** What of a Markdown document can be held against the project. */
export interface Document {
  /** Relative to the root: `docs/README.md`. */
  path: string
  text: string
  /** Code, in spans and fenced blocks, with the line on which it begins. */
  code: { text: string; line: number; isBlock: boolean }[]
  /** Targets of links, as they are written. */
  links: { target: string; line: number }[]
  /** What a link to a heading may say behind its #. */
  anchors: Set<string>
}

export function readDocument(path: string, text: string): Document {
  const code: Document['code'] = []
  const links: Document['links'] = []
  const anchors = new Set<string>()
  let block: { lines: string[]; line: number } | undefined
  const lines = text.split('\n')
  for (const [index, content] of lines.entries()) {
    const line = index + 1
    if (/^ *(```|~~~)/.test(content)) {
      if (block) code.push({ text: joined(block.lines), line: block.line, isBlock: true })
      block = block ? undefined : { lines: [], line: line + 1 }
      continue
    }
    if (block) {
      block.lines.push(content)
      continue
    }
    for (const [, span = ''] of content.matchAll(/`([^`]+)`/g)) code.push({ text: span, line, isBlock: false })
    for (const [, target = ''] of content.replaceAll(/`[^`]*`/g, '').matchAll(/\]\(([^()\s]+)\)/g)) {
      links.push({ target, line })
    }
    const [, heading] = /^#{1,6} (.+)$/.exec(content) ?? []
    if (heading !== undefined) addAnchor(anchors, heading)
  }
  return { path, text, code, links, anchors }
}

/** Lines that end in a backslash go on. */
function joined(lines: string[]): string {
  return lines.join('\n').replaceAll(/\\\n\s*/g, ' ')
}

/** As GitHub makes them: lower case, without punctuation, spaces as hyphens, numbered when there are several. */
function addAnchor(anchors: Set<string>, heading: string): void {
  const plain = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll('`', '')
  const anchor = plain
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
  let [name, n] = [anchor, 0]
  while (anchors.has(name)) name = `${anchor}-${(n += 1)}`
  anchors.add(name)
}
