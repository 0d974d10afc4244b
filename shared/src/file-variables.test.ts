import { expect, test } from 'vitest'
import { mistakeOf, readFileVariables } from './file-variables.ts'

const files: Record<string, string> = {
  '/run/a': 'canary-a\n',
  '/run/b': 'canary-b\r\n',
  '/run/two': 'line\n\n',
  '/run/none': '\n',
}
const readFile = (path: string): string => {
  const text = files[path]
  if (text === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })
  return text
}
const isOurs = (name: string): boolean => ['A', 'B', 'C', 'KEY_FILE'].includes(name)

test('a variable is what its file holds, without one line break at its end', () => {
  const env = { A_FILE: '/run/a', B_FILE: '/run/b', C_FILE: '/run/two' }
  const { set, mistakes } = readFileVariables(env, isOurs, readFile)
  expect(set).toEqual({ ...env, A: 'canary-a', B: 'canary-b', C: 'line\n' })
  expect(mistakes).toEqual([])
})

test('files of others are not looked at, nor is a variable that names a file by itself', () => {
  const env = { SSL_CERT_FILE: '/etc/none', KEY_FILE: './key.json', KEY_FILE_FILE: '/run/a', A_FILE: '' }
  const { set, mistakes } = readFileVariables(env, isOurs, readFile)
  expect(mistakes).toEqual([])
  expect(set).toEqual({ SSL_CERT_FILE: '/etc/none', KEY_FILE: './key.json', KEY_FILE_FILE: '/run/a' })
})

test('every mistake is told by its name: no value, no path', () => {
  const env = { A: 'canary', A_FILE: '/run/a', B_FILE: '/canary', C_FILE: '/run/none' }
  const variables = readFileVariables(env, isOurs, readFile)
  expect(variables.mistakes).toEqual([
    'A_FILE: A is set as well; only one of them can be meant',
    'B_FILE: the file cannot be read (ENOENT)',
  ])
  const said = ['A', 'B', 'C', 'D'].flatMap((name) => mistakeOf(variables, name, `${name} is not set`))
  expect(said).toEqual(['C_FILE: the file is empty', 'D is not set'])
})

test('an empty file is as good as none', () => {
  expect(readFileVariables({ C_FILE: '/run/none' }, isOurs, readFile)).toMatchObject({ mistakes: [], empty: ['C'] })
})
