import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { findMistakes, type Project } from './check-docs/find-mistakes.ts'
import { readDocument, type Document } from './check-docs/read-document.ts'

/*
 * Holds the documents against the project: every command and its options, path, variable, code and route that they name must
 * exist, and every link and heading that they lead to.
 *
 *     node scripts/check-docs.ts
 *
 * It sees names, not truth: what a sentence says of them is for people to keep right.
 */

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const LEFT_OUT = new Set(['node_modules', '.git', '.cache', '.state', 'keys', 'dist', 'coverage'])
const WORDS_MAX_BYTES = 600_000

/** Everything that is under the root and is ours. */
function walk(folder = ''): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    if (LEFT_OUT.has(entry.name)) return []
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    return entry.isDirectory() ? [path, ...walk(path)] : [path]
  })
}

export function readProject(): { documents: Document[]; project: Project } {
  const paths = walk()
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(join(ROOT, path), 'utf8')
    } catch {
      return undefined
    }
  }
  const isDocument = (path: string): boolean => /^(docs\/)?[^/]+\.md$/.test(path)
  const documents = paths.filter(isDocument).map((path) => readDocument(path, read(path) ?? ''))
  const isSource = (path: string): boolean =>
    !path.endsWith('.md') && !/^(pnpm-lock\.yaml|shared\/testing\/protocol-v1-n1\/|scripts\/check-docs)/.test(path)
  const isProgram = (path: string): boolean => /^(agent|control-plane|shared)\/src\/.+(?<!\.test)\.ts$/.test(path)
  const program: string[] = []
  const words = new Set<string>()
  for (const path of paths.filter(isSource)) {
    const text = read(path)
    if (text === undefined || text.length > WORDS_MAX_BYTES) continue
    if (isProgram(path)) program.push(text.replaceAll('\\', ''))
    for (const [word] of text.matchAll(/[A-Za-z][\w]*(?:[-.][\w]+)*/g)) {
      words.add(word)
      for (const part of word.split('.')) words.add(part)
    }
  }
  const { scripts } = JSON.parse(read('package.json') ?? '{}') as { scripts: Record<string, string> }
  const api = JSON.parse(read('control-plane/openapi.json') ?? '{}') as { paths: Record<string, object> }
  const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  const project = {
    paths: new Set(paths),
    scripts,
    read,
    hasWord: (word: string) => words.has(word),
    hasText: (part: string) => program.some((text) => text.includes(part)),
    routes,
  }
  return { documents, project }
}

function main(): number {
  const { documents, project } = readProject()
  const mistakes = findMistakes(documents, project)
  for (const mistake of mistakes) console.error(mistake)
  console.log(`${documents.length} documents, ${mistakes.length} mistakes`)
  return mistakes.length === 0 ? 0 : 1
}

if (import.meta.main) process.exitCode = main()
