import { parseArgs } from 'node:util'
import { enrollmentCodeSchema } from '@multiboard-sync/shared/agent-key'
import {
  aliasSchema,
  archiveIdSchema,
  databaseNameSchema,
  jobIdSchema,
  jobParamsSchema,
  MAX_COLLECTIONS,
  type JobParams,
} from '@multiboard-sync/shared/job'
import { SyncError } from '@multiboard-sync/shared/sync-error'

export type Command = { json: boolean } & (
  | { name: 'help' | 'run' | 'doctor' | 'archives' | 'archive-keys' }
  | { name: 'show'; archive: string }
  | { name: 'job'; params: JobParams; dryRun: boolean }
  /** Without a target it is the only one of the policy, without a job the last one there: resolve-undo.ts. */
  | { name: 'undo'; target: string | undefined; job: string | undefined; reindex: boolean; dryRun: boolean }
  /** Without a source it is the database of the collections, without aliases all of them: resolve-reindex.ts. */
  | { name: 'reindex'; source: string | undefined; aliases: string[]; full: boolean; dryRun: boolean }
  | { name: 'enroll'; code: string }
  | { name: 'rotate-key' }
  | { name: 'collections-check'; aliases: string[] }
  | { name: 'collections-infer'; source: string; table: string }
  /** Without a target: all of the policy. `previous`: the tables kept for an undo go, too. `job`: of an agent that is lost. */
  | { name: 'clean'; target: string | undefined; job: string | undefined; previous: boolean; dryRun: boolean }
)

const OPTIONS = {
  from: { type: 'string' },
  to: { type: 'string' },
  tables: { type: 'string' },
  engine: { type: 'string' },
  code: { type: 'string' },
  job: { type: 'string' },
  previous: { type: 'boolean', default: false },
  full: { type: 'boolean', default: false },
  'no-reindex': { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

/** Which options a command takes besides --json and --help, and how many words follow it. */
export const COMMANDS: Record<string, { options: string[]; words: [number, number] }> = {
  run: { options: [], words: [0, 0] },
  doctor: { options: [], words: [0, 0] },
  archives: { options: [], words: [0, 2] },
  export: { options: ['from', 'tables', 'dry-run'], words: [0, 0] },
  sync: { options: ['from', 'to', 'tables', 'engine', 'no-reindex', 'dry-run'], words: [0, 0] },
  restore: { options: ['to', 'tables', 'engine', 'no-reindex', 'dry-run'], words: [1, 1] },
  undo: { options: ['to', 'no-reindex', 'dry-run'], words: [0, 1] },
  reindex: { options: ['from', 'full', 'dry-run'], words: [0, MAX_COLLECTIONS] },
  collections: { options: ['from'], words: [0, MAX_COLLECTIONS + 1] },
  enroll: { options: ['code'], words: [0, 0] },
  'rotate-key': { options: [], words: [0, 0] },
  clean: { options: ['to', 'job', 'previous', 'dry-run'], words: [0, 0] },
}

/** What a command line asks for. `argv` without node and script. Throws `usage` with what is wrong. */
export function parseCommand(argv: string[]): Command {
  const { values, positionals } = read(argv.filter((word, index) => !(word === '--' && index === 0)))
  const [command, ...words] = positionals
  if (values.help || command === 'help' || command === undefined) {
    if (command === undefined && !values.help) throw usage('No command was given.')
    return { name: 'help', json: values.json }
  }
  const known = Object.hasOwn(COMMANDS, command) ? COMMANDS[command] : undefined
  if (!known) throw usage(`There is no command "${command}".`)
  const given = Object.entries(values).filter(([name, value]) => !['json', 'help'].includes(name) && value !== false)
  const foreign = given.find(([name]) => !known.options.includes(name))
  if (foreign) throw usage(`"${command}" has no option --${foreign[0]}.`)
  if (words.length < known.words[0]) throw usage(`"${command}" needs the id of an archive.`)
  if (words.length > known.words[1]) throw usage(`"${command}" does not take the word "${words[known.words[1]]}".`)
  const { json, previous, 'dry-run': dryRun } = values
  switch (command) {
    case 'run':
    case 'doctor':
      return { name: command, json }
    case 'archives':
      if (words.length === 0) return { name: 'archives', json }
      if (words[0] === 'keys' && words.length === 1) return { name: 'archive-keys', json }
      if (words[0] !== 'show' || !words[1]) throw usage('Write: archives show <archive>, or: archives keys.')
      if (!archiveIdSchema.safeParse(words[1]).success) throw usage(`"${words[1]}" is not the id of an archive.`)
      return { name: 'show', archive: words[1], json }
    case 'undo':
      return {
        name: command,
        target: readDatabase(values.to),
        job: readJob(words[0]),
        reindex: !values['no-reindex'],
        dryRun,
        json,
      }
    case 'reindex':
      return {
        name: command,
        source: readDatabase(values.from),
        aliases: words.map(readAlias),
        full: values.full,
        dryRun,
        json,
      }
    case 'collections':
      return { ...readCollections(words, values.from), json }
    case 'enroll':
      return { name: command, code: readCode(values.code), json }
    case 'rotate-key':
      return { name: command, json }
    case 'clean':
      return { name: command, target: readDatabase(values.to), job: readJob(values.job), previous, dryRun, json }
    default:
      return { name: 'job', params: readParams(command, words, values), dryRun, json }
  }
}

function read(argv: string[]) {
  try {
    return parseArgs({ args: argv, options: OPTIONS, allowPositionals: true })
  } catch (cause) {
    throw usage(cause instanceof Error ? firstSentence(cause.message) : 'The command line cannot be read.')
  }
}

/** Node's further sentences speak of parseArgs() to programmers. */
function firstSentence(text: string): string {
  return `${text.split(/\. |\n/)[0]?.replace(/\.$/, '') ?? text}.`
}

function readParams(kind: string, words: string[], values: ReturnType<typeof read>['values']): JobParams {
  const { from, to, engine, tables } = values
  if (kind !== 'restore' && !from) throw usage('Name the source: --from <database>.')
  if (kind !== 'export' && !to) throw usage('Name the target: --to <database>.')
  const list = tables === undefined ? {} : { tables: splitList(tables) }
  const choice = {
    ...(engine === undefined ? {} : { engine }),
    ...(values['no-reindex'] ? { reindex: false } : {}),
  }
  const params = {
    export: { kind, source: from, ...list },
    sync: { kind, source: from, target: to, ...list, ...choice },
    restore: { kind, archive: words[0], target: to, ...list, ...choice },
  }[kind]
  const parsed = jobParamsSchema.safeParse(params)
  if (parsed.success) return parsed.data
  throw usage(
    'The command line asks for something that cannot be.',
    parsed.error.issues.map(({ path, message }) => `${wordOf(path[0])}: ${message}`),
  )
}

type CollectionsCommand =
  | { name: 'collections-check'; aliases: string[] }
  | { name: 'collections-infer'; source: string; table: string }

function readCollections([verb, ...words]: string[], from: string | undefined): CollectionsCommand {
  if (verb === 'check') {
    if (from !== undefined) throw usage('"collections check" has no option --from.')
    return { name: 'collections-check', aliases: words.map(readAlias) }
  }
  const [table, ...others] = words
  const source = readDatabase(from)
  if (verb !== 'infer' || table === undefined || others.length > 0 || source === undefined) {
    throw usage('Write: collections check [<alias>…], or: collections infer --from <database> <table>.')
  }
  return { name: 'collections-infer', source, table }
}

function readAlias(alias: string): string {
  if (aliasSchema.safeParse(alias).success) return alias
  throw usage(`"${alias}" is not the alias of a collection.`)
}

function readDatabase(name: string | undefined): string | undefined {
  if (name === undefined || databaseNameSchema.safeParse(name).success) return name
  throw usage(`"${name}" is not the name of a database.`)
}

function readCode(code: string | undefined): string {
  if (code !== undefined && enrollmentCodeSchema.safeParse(code).success) return code
  // What was typed is not repeated: it may be a code with one character too many.
  throw usage(
    `${code === undefined ? 'Name the code' : 'That is not a code'}: --code mbse_…, as an admin was shown it.`,
  )
}

function readJob(id: string | undefined): string | undefined {
  if (id === undefined || jobIdSchema.safeParse(id).success) return id
  throw usage(`"${id}" is not the id of a job.`)
}

/** The command line's word for a field of the job. */
function wordOf(field: PropertyKey | undefined): string {
  const words: Record<PropertyKey, string> = { source: '--from', target: '--to', archive: '<archive>' }
  return field === undefined ? 'command' : (words[field] ?? `--${String(field)}`)
}

/** Commas inside double quotes belong to a name; so does everything behind a quote that is not closed. */
function splitList(text: string): string[] {
  const items = text.match(/(?:[^,"]|"(?:[^"]|"")*(?:"|$))+/g) ?? []
  return items.map((item) => item.trim()).filter((item) => item !== '')
}

function usage(message: string, details: string[] = []): SyncError {
  return new SyncError('usage', message, { hint: 'Run `pnpm agent --help` to see what there is.', details })
}
