import { createReadStream, existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'

import pg from 'pg'

import { lineReader, type LineReader } from './sample/line-reader.ts'
import { scanSql, type Inside } from './sample/scan-sql.ts'

/*
 * Loads a plain SQL dump, as pg_dump writes it for psql, without psql. The file is read as a stream: rows of COPY blocks
 * are handed on as they come; statements between them are collected and sent together as one simple query, because
 * PostgreSQL splits those itself. Statements about databases and psql's own lines (\connect, \restrict …) are skipped;
 * the file goes into the database of the URL whatever it says. Not done: transactions around the whole, psql variables.
 */

export interface LoadedSample {
  copies: number
  /** Rows that came through COPY blocks; rows of INSERT statements are not counted. */
  rows: number
  bytes: number
}

export interface LoadSampleOptions {
  signal?: AbortSignal
  onProgress?: (bytes: number) => void
}

/** Statements are sent when this much has come together and one has surely ended: a dump of INSERTs may be huge. */
const queryBytes = 1024 * 1024
/** Small enough to be nothing, large enough that COPY's messages are few. */
const copyBytes = 64 * 1024

const byteOrderMark = /^\uFEFF/
const copyFromStdin = /^copy\s.+\sfrom\s+stdin\b.*;\s*$/i
const aboutDatabases = /^(?:(?:create|drop|alter|comment\s+on)\s+database\b|(?:grant|revoke)\b.*\bon\s+database\b)/i
const harmlessMeta = /^\\(?:c|connect|restrict|unrestrict|echo|pset|encoding|timing|set|unset|x)\b/
/** pg_dump indents the bodies of functions, so that an INSERT or a comment at a line's very start begins a statement. */
const surelyBegins = /^(?:--|insert\s+into\s)/i

const { from: copyFrom } = createRequire(new URL('../../agent/package.json', import.meta.url))(
  'pg-copy-streams',
) as typeof import('pg-copy-streams')

/** The sample databases beside the repository, if this machine has them. */
export function sampleFiles(): { dir: string; files: string[] } | undefined {
  const dir = fileURLToPath(new URL('../../../shared/samples/', import.meta.url))
  if (!existsSync(dir)) return undefined
  const files = readdirSync(dir).filter((name) => name.endsWith('.sql'))
  return files.length === 0 ? undefined : { dir, files: files.toSorted().map((name) => join(dir, name)) }
}

export async function loadSample(url: string, file: string, options: LoadSampleOptions = {}): Promise<LoadedSample> {
  const { signal, onProgress } = options
  const client = new pg.Client({ connectionString: url, application_name: 'load-sample' })
  client.on('error', () => undefined)
  const stopped = () => client.connection.stream.destroy()
  signal?.throwIfAborted()
  await client.connect()
  signal?.addEventListener('abort', stopped)
  try {
    const loaded: LoadedSample = { copies: 0, rows: 0, bytes: 0 }
    const counted = async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        loaded.bytes += chunk.length
        onProgress?.(loaded.bytes)
        yield chunk
      }
    }
    const stream = createReadStream(file, { highWaterMark: 256 * 1024 })
    await pipeline(stream, counted, async (chunks) => await run(client, lineReader(chunks), loaded), { signal })
    return loaded
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', stopped)
    await client.end()
  }
}

async function run(client: pg.Client, lines: LineReader, loaded: LoadedSample): Promise<void> {
  let sql = ''
  let inside: Inside
  /** Something has begun that no semicolon has ended yet. */
  let open = false
  let skipping = false
  const flush = async () => {
    if (sql.trim() !== '') await client.query(sql)
    sql = ''
  }
  for (;;) {
    const bytes = await lines.next()
    if (bytes === undefined) break
    const line = bytes.toString('utf8').replace(byteOrderMark, '')
    const between = !open && inside === undefined
    if (between && line.startsWith('\\')) {
      if (!harmlessMeta.test(line)) throw new Error(`psql's ${line.trim().split(/\s/)[0]} cannot be followed here`)
      continue
    }
    if (between && copyFromStdin.test(line)) {
      await flush()
      await copy(client, line, lines, loaded)
      continue
    }
    if (between && sql.length > queryBytes && surelyBegins.test(line)) await flush()
    if (between && aboutDatabases.test(line)) skipping = true
    const scanned = scanSql(line, inside)
    inside = scanned.inside
    if (!skipping) sql += line
    if (!scanned.blank) open = !scanned.endsStatement
    if (!open) skipping = false
  }
  await flush()
}

async function copy(client: pg.Client, statement: string, lines: LineReader, loaded: LoadedSample): Promise<void> {
  const rows = async function* () {
    let block: Buffer[] = []
    let length = 0
    for (;;) {
      const line = await lines.next()
      if (line === undefined) throw new Error(`the file ends inside of ${statement.trim()}`)
      if (line.length <= 4 && /^\\\.\r?\n?$/.test(line.toString('latin1'))) break
      loaded.rows += 1
      block.push(line)
      length += line.length
      if (length < copyBytes) continue
      yield Buffer.concat(block)
      block = []
      length = 0
    }
    if (length > 0) yield Buffer.concat(block)
  }
  await pipeline(rows, client.query(copyFrom(statement)))
  loaded.copies += 1
}
