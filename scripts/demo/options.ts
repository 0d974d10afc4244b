import { existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { testSearchServer, type SearchServer } from '../search-server.ts'

export const usage = `Multiboard Sync demo: one real sync on servers that it starts itself

usage: npx --yes pnpm@12.21.0 demo [options]

  --components N     size of the parts database that is made as production (default 20000; some 1.2 kB each)
  --load FILE        load this plain SQL dump as production instead; staging is empty then
  --stage FILE       with --load: load this dump as staging
  --typesense URL    search there instead of in a stand-in; the key is read from TYPESENSE_API_KEY
  --once             end after the sync and remove everything; exit code 0 only when it succeeded
  --json             one JSON object with the outcome as the last line, nothing else on standard output
  --help             this text

TYPESENSE_TEST_URL and TYPESENSE_TEST_API_KEY do the same as --typesense. On such a server the demo makes one alias of its
own, and removes it. With --load there is no search: a mapping for your tables would have to be written first.

Without --once the demo stays up until Ctrl-C, so that you can look around. It listens on 127.0.0.1 only.
Exit codes: 0 succeeded, 1 failed or canceled, 2 bad usage, 3 refused (nothing was begun), 4 succeeded with a stale search.
`

export type DemoOptions = { json: boolean; once: boolean } & DemoData
type DemoData =
  | { components: number; typesense: SearchServer | undefined; load?: never; stage?: never }
  | { load: string; stage: string | undefined }

const defaultComponents = 20_000
/** Some 12 GB; more is a typing mistake on a machine that runs a demo. */
const mostComponents = 10_000_000

/** What the command line asks for; undefined for help. Throws an Error with a sentence for people. */
export function parseOptions(
  argv: readonly string[],
  folders: readonly string[],
  env: NodeJS.ProcessEnv,
): DemoOptions | undefined {
  const { values } = parseArgs({
    args: argv.filter((word, index) => !(word === '--' && index === 0)),
    options: {
      components: { type: 'string' },
      load: { type: 'string' },
      stage: { type: 'string' },
      typesense: { type: 'string' },
      once: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const { components, load, stage, typesense, once, json, help } = values
  if (help) return undefined
  if (load === undefined) {
    if (stage !== undefined) throw new Error('--stage needs --load: without it the demo makes both databases itself.')
    return {
      json,
      once,
      components: countOf(components ?? String(defaultComponents)),
      typesense: typesense === undefined ? testSearchServer(env) : searchServer(typesense, env['TYPESENSE_API_KEY']),
    }
  }
  if (typesense !== undefined) throw new Error('--typesense and --load exclude each other: a dump has no mapping.')
  if (components !== undefined) throw new Error('--components and --load exclude each other: choose one production.')
  return { json, once, load: fileOf(load, folders), stage: stage === undefined ? undefined : fileOf(stage, folders) }
}

function searchServer(url: string, apiKey: string | undefined): SearchServer {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) throw new Error(`--typesense takes a URL, not "${url}".`)
  if (!apiKey) throw new Error('--typesense needs a key: set TYPESENSE_API_KEY.')
  return { url: url.replace(/\/+$/, ''), apiKey }
}

function countOf(text: string): number {
  const count = Number(text)
  if (/^\d+$/.test(text) && count >= 1 && count <= mostComponents) return count
  throw new Error(`--components takes a number from 1 to ${mostComponents}, not "${text}".`)
}

/** pnpm runs scripts in the project's folder; a relative path is meant from where its caller stands. */
function fileOf(name: string, folders: readonly string[]): string {
  const path = folders.map((folder) => resolve(folder, name)).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error(`There is no file ${name}.`)
  if (!statSync(path).isFile()) throw new Error(`${name} is not a file.`)
  return path
}
