import { createHash } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openArchive } from '../src/archive/archive-reader.ts'
import { listArchives } from '../src/archive/catalogue.ts'
import { verifyArchive } from '../src/archive/verify-archive.ts'
import { BUCKET, ID, PREFIX, SAMPLES, SQL, deadline, startBench, writeSamples, type Bench } from './archive/setup.ts'

describe('an archive', () => {
  let bench: Bench
  let written: Awaited<ReturnType<typeof writeSamples>>
  const folder = `${PREFIX}/archives/${ID}/`

  beforeAll(async () => {
    bench = await startBench()
    written = await writeSamples(bench)
  })
  afterAll(async () => await bench[Symbol.asyncDispose]())

  const deps = () => ({ store: bench.store, prefix: PREFIX, trust: bench.trust })

  it('gives back every row and every statement that was put into it', async () => {
    const archive = await openArchive(deps(), ID, deadline())
    expect(archive.manifest).toEqual(written.manifest)
    expect(archive.summary).toEqual(written.summary)
    for (const [name, sql] of Object.entries(SQL)) expect(await archive.readSql(name)).toBe(sql)
    for (const sample of SAMPLES) {
      const table = archive.manifest.tables.find(({ schema, name }) => schema === sample.schema && name === sample.name)
      const parts = table?.parts ?? []
      const texts = await Promise.all(
        parts.map(async (part) => await text(await archive.readRows(table!, part, deadline()))),
      )
      expect(texts).toEqual(sample.parts)
      expect(table?.rows).toBe(sample.parts.join('').split('\n').length - 1)
      expect(table?.bytes).toBe(Buffer.byteLength(sample.parts.join('')))
    }
  })

  it('read in the order of its keys is one SQL text that psql understands', async () => {
    const keys = (await bench.server.keys(BUCKET, folder)).filter((key) => key.endsWith('.sql.gz'))
    const objects = await Promise.all(keys.map(async (key) => await bench.server.read(BUCKET, key)))
    const sql = gunzipSync(Buffer.concat(objects)).toString()
    expect(sql.startsWith(SQL['000-pre-data.sql'])).toBe(true)
    expect(sql.endsWith(SQL['900-post-data.sql'])).toBe(true)
    expect(sql).toContain(
      [
        '-- multiboard-sync archive, format 1: public.Component, part 0',
        "SET client_encoding = 'UTF8';",
        'COPY "public"."Component" ("id", "name") FROM stdin;',
        '1\ta\\nb',
        '2\t\\N',
        '\\.',
        '-- multiboard-sync archive, format 1: public.Component, part 1',
      ].join('\n'),
    )
    expect(sql).toContain('COPY "öffentlich"."a/../b\n""c""" ("x""y") FROM stdin;\nnaïve 界\n\n\\.\n')
    expect(sql).toContain('COPY "a"."b.c" FROM stdin;\n\n\n\n\\.\n')
  })

  it('names every object with its size and SHA-256, and nothing lies beside them', async () => {
    const { manifest } = written
    const named = [...manifest.objects, ...manifest.tables.flatMap((table) => table.parts)]
    for (const object of named) {
      const stored = await bench.server.read(BUCKET, folder + object.key)
      expect(stored.length).toBe(object.compressed_bytes)
      expect(createHash('sha256').update(stored).digest('hex')).toBe(object.sha256)
    }
    const keys = new Set(named.map(({ key }) => folder + key))
    const others = (await bench.server.keys(BUCKET, folder)).filter((key) => !keys.has(key))
    expect(others).toEqual([`${folder}manifest.json`, `${folder}manifest.json.jws`])
    expect(manifest.totals.compressed_bytes).toBe(named.reduce((sum, object) => sum + object.compressed_bytes, 0))
  })

  it('tells in RESTORE.txt how psql alone restores it', async () => {
    const recipe = (await bench.server.read(BUCKET, `${folder}RESTORE.txt`)).toString()
    expect(recipe).toContain('cat 000* 100-data/*/* 800* 900* | gunzip | psql -v ON_ERROR_STOP=1 -1 empty_db\n')
    expect(recipe).toContain('cat 100-data/public.Component/* | gunzip')
    expect(recipe).not.toContain('PARTIAL')
  })

  it('can be read from the first byte to the last without writing anything', async () => {
    let rows = 0
    let bytes = 0
    await verifyArchive(await openArchive(deps(), ID, deadline()), deadline(), (moreBytes, moreRows) => {
      rows += moreRows
      bytes += moreBytes
    })
    expect({ rows, bytes }).toEqual({ rows: written.manifest.totals.rows, bytes: written.manifest.totals.bytes })
  })

  it('is found again from the bucket alone, the newest first, with what it lacks', async () => {
    const backup = '20261123T080312Z-production-aaaa'
    await writeSamples(bench, backup, 'safety-backup')
    await bench.store.putText(`${PREFIX}/archives/20261124T080312Z-production-bbbb/000-pre-data.sql.gz`, 'x', {
      signal: deadline(),
    })
    await bench.server.remove(BUCKET, `${PREFIX}/backups/${backup}/100-data/a%2Eb.c/00000.sql.gz`)
    const found = await Array.fromAsync(listArchives(deps(), deadline()))
    expect(found.map(({ id, kind, missing }) => ({ id, kind, missing }))).toEqual([
      { id: backup, kind: 'safety-backup', missing: ['100-data/a%2Eb.c/00000.sql.gz'] },
      { id: ID, kind: 'export', missing: [] },
    ])
    expect(found[1]).toEqual(written.summary)
    await expect(openArchive(deps(), '20261124T080312Z-production-bbbb', deadline())).rejects.toMatchObject({
      code: 'archive-incomplete',
    })
  })

  it('is not overwritten by another one of the same name', async () => {
    await expect(writeSamples(bench)).rejects.toMatchObject({ code: 'storage-failed' })
    await expect(openArchive(deps(), ID, deadline())).resolves.toMatchObject({ summary: { id: ID } })
  })
})
