import { describe, expect, test } from 'vitest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { parseCommand } from './parse-command.ts'

const SYNC = ['sync', '--from', 'production', '--to', 'staging']
const ARCHIVE = '20261122T080312Z-production-k7f2'
const JOB = 'j4k7q2m9xw1ab'

describe('a command line that is wrong is refused in a sentence, with', () => {
  test.each([
    ['no command', []],
    ["an unknown command, also one of JavaScript's own names", ['constructor']],
    ['an unknown option', ['doctor', '--colour']],
    ['an option of another command', ['export', '--from', 'production', '--to', 'staging']],
    ['an option without its value', ['sync', '--from']],
    ['an option whose value would be another option', ['sync', '--from', '--to', 'staging']],
    ['no source', ['sync', '--to', 'staging']],
    ['no target', ['restore', ARCHIVE]],
    ['a word too many', ['doctor', 'now']],
    ['a word too few', ['restore', '--to', 'staging']],
    ['a name that no database can have', ['export', '--from', 'Production Database']],
    ['an engine that does not exist', [...SYNC, '--engine', 'magic']],
    ['a pattern that is none', [...SYNC, '--tables', 'a.b.c']],
    ['a quote that is not closed', [...SYNC, '--tables', '"Comp,onent']],
    ['an id that no archive can have', ['restore', '../../etc', '--to', 'staging']],
    ['an id that no archive can have, to show', ['archives', 'show', 'x']],
    ['something else than show', ['archives', 'delete', ARCHIVE]],
    ['an id that no job can have', ['undo', 'j1']],
    ['two jobs to undo', ['undo', JOB, JOB]],
    ['a target that no database can have', ['undo', '--to', 'Staging', JOB]],
    ['an option of clean', ['undo', '--previous']],
    ['a job to clean', ['clean', JOB]],
    ['a job to clean that can be none', ['clean', '--job', 'j1']],
    ['the keys of one archive', ['archives', 'keys', ARCHIVE]],
    ['an alias that no collection can have', ['reindex', 'a__b']],
    ['an option of a sync', ['reindex', '--no-reindex']],
    ['a collection to make anew', [...SYNC, '--full']],
    ['an export that would leave the search alone', ['export', '--from', 'production', '--no-reindex']],
    ['nothing to do with collections', ['collections']],
    ['a mapping to infer from nowhere', ['collections', 'infer', 'Component']],
    ['two tables to infer from', ['collections', 'infer', '--from', 'production', 'Component', 'Category']],
    ['a source to check', ['collections', 'check', '--from', 'production']],
  ])('%s', (_, argv) => {
    const thrown = caught(argv)
    expect(thrown.code).toBe('usage')
    expect(thrown.message).toMatch(/^["A-Z][^\n]*\.$/)
    expect(thrown.hint).toContain('--help')
  })
})

test('commas and dots inside double quotes belong to the name', () => {
  const tables = (text: string): unknown => {
    const command = parseCommand([...SYNC, '--tables', text])
    return command.name === 'job' && command.params.kind === 'sync' ? command.params.tables : undefined
  }
  expect(tables('Component, "a,b"."c""d,e" ,public.*')).toEqual(['Component', '"a,b"."c""d,e"', 'public.*'])
  expect(tables(',')).toEqual([])
})

test('each command is read with its options', () => {
  expect(parseCommand(['--', ...SYNC, '--engine', 'create', '--dry-run', '--json'])).toEqual({
    name: 'job',
    params: { kind: 'sync', source: 'production', target: 'staging', engine: 'create' },
    dryRun: true,
    json: true,
  })
  expect(parseCommand(['restore', ARCHIVE, '--to', 'staging'])).toMatchObject({
    params: { kind: 'restore', archive: ARCHIVE, target: 'staging', engine: 'auto' },
  })
  expect(parseCommand(['archives', 'show', ARCHIVE])).toEqual({ name: 'show', archive: ARCHIVE, json: false })
  expect(parseCommand(['undo', JOB, '--to', 'staging', '--dry-run'])).toEqual({
    name: 'undo',
    target: 'staging',
    job: JOB,
    reindex: true,
    dryRun: true,
    json: false,
  })
  expect(parseCommand(['undo'])).toMatchObject({ name: 'undo', target: undefined, job: undefined, dryRun: false })
  expect(parseCommand(['clean', '--previous', '--to', 'staging', '--json'])).toEqual({
    name: 'clean',
    target: 'staging',
    previous: true,
    dryRun: false,
    json: true,
  })
  expect(parseCommand(['clean'])).toMatchObject({ target: undefined, job: undefined, previous: false })
  expect(parseCommand(['clean', '--job', JOB])).toMatchObject({ name: 'clean', job: JOB })
  expect(parseCommand(['archives', 'keys', '--json'])).toEqual({ name: 'archive-keys', json: true })
  expect(parseCommand([...SYNC, '--no-reindex'])).toMatchObject({ params: { kind: 'sync', reindex: false } })
  expect(parseCommand(['undo', '--no-reindex'])).toMatchObject({ name: 'undo', reindex: false })
  expect(parseCommand(['reindex', 'components', 'suppliers', '--full'])).toEqual({
    name: 'reindex',
    source: undefined,
    aliases: ['components', 'suppliers'],
    full: true,
    dryRun: false,
    json: false,
  })
  expect(parseCommand(['reindex', '--from', 'staging'])).toMatchObject({ source: 'staging', aliases: [], full: false })
  expect(parseCommand(['collections', 'check', 'components', '--json'])).toEqual({
    name: 'collections-check',
    aliases: ['components'],
    json: true,
  })
  expect(parseCommand(['collections', 'infer', '--from', 'production', 'public."Component"'])).toEqual({
    name: 'collections-infer',
    source: 'production',
    table: 'public."Component"',
    json: false,
  })
  for (const argv of [['--help'], ['help'], ['sync', '-h']]) expect(parseCommand(argv).name).toBe('help')
})

function caught(argv: string[]): SyncError {
  try {
    parseCommand(argv)
  } catch (thrown) {
    if (thrown instanceof SyncError) return thrown
    throw thrown
  }
  throw new Error(`${argv.join(' ')} was taken`)
}
