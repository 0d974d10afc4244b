import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

/*
 * T22: what ships runs its own code and nothing else: no shell, no child process, no code from text or from a URL, no
 * update of itself. A test reads the sources, because a rule that only a linter knows is switched off by a comment.
 */

const ROOT = new URL('../../', import.meta.url)
const files = globSync('{agent,control-plane,shared}/src/**/*.{ts,js,mjs}', { cwd: ROOT })
  .filter((file) => !file.endsWith('.test.ts'))
  .map((file) => ({ file, text: withoutComments(readFileSync(new URL(file, ROOT), 'utf8')) }))

/** Modules that run other programs, make code of text, or change what an import means. */
const FORBIDDEN =
  /^(node:)?(child_process|cluster|vm|repl|inspector|inspector\/promises|module|wasi|sea)$|^https?:|^data:|^file:/
const PATTERNS = [
  /\beval\s*\(|\bnew\s+Function\b|\bFunction\s*\(|\bset(Timeout|Interval)\s*\(\s*['"`]/,
  /\bprocess\s*\.\s*(binding|dlopen|execve|_linkedBinding|getBuiltinModule)\b|\bcreateRequire\b/,
  // An import whose name is computed, and a worker that is not a file of ours beside the one that starts it.
  /\b(import|require)\s*\((?!'[\w@./-]+'\))/,
  /\bnew\s+Worker\s*\((?!new URL\('\.\/[\w-]+\.ts', import\.meta\.url\),)/,
  // An update of itself.
  /registry\.npmjs|\/releases\/(latest|download)|\b(npm|pnpm|npx|yarn)\s+(install|update|dlx|add)\b/,
]

function breachesOf(text: string): string[] {
  const patterns = PATTERNS.map((pattern) => pattern.exec(text)?.[0]).filter((found) => found !== undefined)
  return [...patterns, ...namesImported(text).filter((name) => FORBIDDEN.test(name))]
}

function namesImported(text: string): string[] {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(([, name = '']) => name)
}

test('T22: what ships starts no program, makes no code of text, imports nothing from elsewhere, does not update itself', () => {
  expect(files.length).toBeGreaterThan(150)
  for (const folder of ['agent/src/', 'control-plane/src/', 'shared/src/']) {
    expect(
      files.some(({ file }) => file.startsWith(folder)),
      folder,
    ).toBe(true)
  }
  expect(files.flatMap(({ text }) => namesImported(text)).length).toBeGreaterThan(500)
  const found = files.map(({ file, text }) => ({ file, breaches: breachesOf(text) }))
  expect(found.filter(({ breaches }) => breaches.length > 0)).toEqual([])
})

test('T22: every package of the lock file comes from the registry, with its hash', () => {
  const lock = readFileSync(new URL('pnpm-lock.yaml', ROOT), 'utf8')
  const resolutions = lock.match(/resolution: \{.*\}/g) ?? []
  expect(resolutions.length).toBeGreaterThan(100)
  expect(resolutions.filter((line) => !/^resolution: \{integrity: sha512-[\w+/=]+\}$/.test(line))).toEqual([])
})

test('T22: a breach would be found', () => {
  const bad = [
    "import { exec } from 'node:child_process'",
    "const { exec } = await import('child_process')",
    "import x from 'https://example.com/x.js'",
    "await import('https://example.com')",
    'await import(url)',
    'await import(`./${name}.ts`)',
    "const f = new Function('return 1')",
    "globalThis.eval('1')",
    "process.binding('spawn_sync')",
    "import { createRequire } from 'node:module'",
    'new Worker(code, { eval: true })',
    'new Worker(new URL(update))',
  ]
  expect(bad.filter((text) => breachesOf(text).length === 0)).toEqual([])
  const good = ["import { x } from './x.ts'", "const { Client } = await import('typesense')", 'important(url)']
  expect(good.flatMap(breachesOf)).toEqual([])
})

/** Comments may name what the code must not do. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
}
