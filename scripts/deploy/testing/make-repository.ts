import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

export interface Repository {
  folder: string
  /** Changes one file and commits it: another release. */
  commit(path: string, change: (text: string) => string): void
}

/** A repository of its own with the files of this checkout that are deployed, as they are now, committed or not. */
export function makeRepository(folder: string): Repository {
  const git = (...words: string[]): void => {
    execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...words], { cwd: folder })
  }
  const paths = readFileSync(join(root, 'scripts/deploy/paths.txt'), 'utf8').trim().split('\n')
  for (const path of [...paths, 'scripts/deploy.sh']) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    cpSync(join(root, path), join(folder, path), {
      recursive: true,
      filter: (source) => !source.endsWith('.test.ts') && !source.includes('/node_modules'),
    })
  }
  git('init', '--quiet', '--initial-branch', 'main')
  git('add', '--all')
  git('commit', '--quiet', '--message', 'first')
  return {
    folder,
    commit: (path, change) => {
      const file = join(folder, path)
      const [before, after] = [readFileSync(file, 'utf8'), change(readFileSync(file, 'utf8'))]
      if (before === after) throw new Error(`${path} is as it was`)
      writeFileSync(file, after)
      git('commit', '--quiet', '--all', '--message', path)
    },
  }
}
