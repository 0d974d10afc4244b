import { generateKeyPair } from 'jose'
import { createHash } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { manifestSchema } from '@multiboard-sync/shared/manifest'
import { SyncError } from '@multiboard-sync/shared/sync-error'
import { openArchive, type OpenedArchive } from '../src/archive/archive-reader.ts'
import { listArchives } from '../src/archive/catalogue.ts'
import { openRows } from '../src/archive/open-rows.ts'
import { manifestSigner, manifestTrust } from '../src/archive/sign-manifest.ts'
import { verifyArchive } from '../src/archive/verify-archive.ts'
import { BUCKET, ID, PREFIX, deadline, makeSigner, startBench, writeSamples, type Bench } from './archive/setup.ts'

const NEWLINES = gzipSync(Buffer.alloc(20_000_000, 10))
const FOLDER = `${PREFIX}/archives/${ID}/`
const PART = `${FOLDER}100-data/public.Component/00000.sql.gz`

describe('a damaged archive', () => {
  let bench: Bench
  /** Every object as it was written. */
  const intact = new Map<string, Buffer>()

  beforeAll(async () => {
    bench = await startBench()
    await writeSamples(bench)
    for (const key of await bench.server.keys(BUCKET)) intact.set(key, await bench.server.read(BUCKET, key))
  })
  beforeEach(async () => {
    for (const [key, bytes] of intact) {
      const now = await bench.server.read(BUCKET, key).catch(() => undefined)
      if (!now?.equals(bytes)) await bench.store.putText(key, bytes, { signal: deadline() })
    }
  })
  afterAll(async () => await bench[Symbol.asyncDispose]())

  const deps = () => ({ store: bench.store, prefix: PREFIX, trust: bench.trust })
  const open = async () => await openArchive(deps(), ID, deadline())

  /** Reads one object to its end, rows or text. */
  async function readOne(archive: OpenedArchive, name: string): Promise<void> {
    const tables = archive.manifest.tables
    const table = tables.find(({ parts }) => parts.some(({ key }) => key === name))
    const part = table?.parts.find(({ key }) => key === name)
    if (!table || !part) return void (await archive.readSql(name))
    await pipeline(await archive.readRows(table, part, deadline()), nowhere())
  }

  /** Opens the archive and reads all of it; gives the code of the error. */
  async function codeOfReading(): Promise<string> {
    try {
      await verifyArchive(await open(), deadline())
    } catch (error) {
      if (error instanceof SyncError) return error.code
      throw error
    }
    return 'no error'
  }

  it('was intact before', async () => expect(await codeOfReading()).toBe('no error'))

  it('T17 G22: is refused when any byte of the manifest or of its signature is another', async () => {
    for (const name of ['manifest.json', 'manifest.json.jws']) {
      const bytes = intact.get(FOLDER + name)?.length ?? 0
      const step = Math.ceil(bytes / 50)
      for (let at = 0; at < bytes; at += step) {
        await bench.server.flipByte(BUCKET, FOLDER + name, at)
        await expect(open(), `byte ${at} of ${name}`).rejects.toMatchObject({ code: 'archive-untrusted' })
        await bench.server.flipByte(BUCKET, FOLDER + name, at)
      }
    }
    expect(await codeOfReading()).toBe('no error')
  })

  it('T17 G22: is refused before the end of the rows or the text when any byte of an object is another', async () => {
    const archive = await open()
    for (const [key, bytes] of intact) {
      if (key.includes('manifest.json')) continue
      const name = key.slice(FOLDER.length)
      const step = key === PART ? 1 : Math.ceil(bytes.length / 40)
      for (let at = 0; at < bytes.length; at += step) {
        await bench.server.flipByte(BUCKET, key, at)
        await expect(readOne(archive, name), `byte ${at} of ${name}`).rejects.toMatchObject({
          code: 'archive-damaged',
          message: expect.stringContaining(name),
        })
        await bench.server.flipByte(BUCKET, key, at)
      }
      await readOne(archive, name)
    }
  })

  it('T17: is refused when an object is shorter or longer', async () => {
    await bench.server.truncate(BUCKET, PART, 40)
    await expect(open()).rejects.toMatchObject({
      code: 'archive-damaged',
      details: [expect.stringMatching(/^100-data\/public\.Component\/00000\.sql\.gz: 40 bytes instead of \d+$/)],
    })
    await bench.store.putText(PART, Buffer.concat([intact.get(PART)!, Buffer.from('x')]), { signal: deadline() })
    expect(await codeOfReading()).toBe('archive-damaged')
  })

  it('T17: is refused when an object becomes shorter after it was opened', async () => {
    const archive = await open()
    await bench.server.truncate(BUCKET, PART, 40)
    await expect(verifyArchive(archive, deadline())).rejects.toMatchObject({ code: 'archive-damaged' })
  })

  it('T17: is incomplete when objects are missing, and all of them are named', async () => {
    await bench.server.remove(BUCKET, PART)
    await bench.server.remove(BUCKET, `${FOLDER}900-post-data.sql.gz`)
    await expect(open()).rejects.toMatchObject({
      code: 'archive-incomplete',
      details: ['100-data/public.Component/00000.sql.gz', '900-post-data.sql.gz'],
    })
  })

  it('T18 G22: is incomplete without a manifest, untrusted without a signature, unknown when nothing is there', async () => {
    await bench.server.remove(BUCKET, `${FOLDER}manifest.json.jws`)
    expect(await codeOfReading()).toBe('archive-untrusted')
    await bench.server.remove(BUCKET, `${FOLDER}manifest.json`)
    expect(await codeOfReading()).toBe('archive-incomplete')
    for (const id of ['20261122T080312Z-production-zzzz', '../archives', '']) {
      await expect(openArchive(deps(), id, deadline())).rejects.toMatchObject({ code: 'archive-unknown' })
    }
  })

  it('T18 G22: is refused when it was signed by a key that is not trusted, or moved from another archive', async () => {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA')
    const strangers = { ...deps(), trust: manifestTrust(async () => publicKey) }
    await expect(openArchive(strangers, ID, deadline())).rejects.toMatchObject({ code: 'archive-untrusted' })
    const nobody = { ...deps(), trust: manifestTrust(async () => undefined) }
    await expect(openArchive(nobody, ID, deadline())).rejects.toMatchObject({ code: 'archive-untrusted' })
    const forged = await manifestSigner(privateKey, 'agent-key').sign(intact.get(`${FOLDER}manifest.json`)!)
    await bench.store.putText(`${FOLDER}manifest.json.jws`, forged, { signal: deadline() })
    expect(await codeOfReading()).toBe('archive-untrusted')

    const other = '20261125T080312Z-production-cccc'
    for (const [key, bytes] of intact) {
      await bench.store.putText(key.replace(ID, other), bytes, { signal: deadline() })
    }
    await expect(openArchive(deps(), other, deadline())).rejects.toMatchObject({ code: 'archive-untrusted' })
    for (const key of intact.keys()) await bench.server.remove(BUCKET, key.replace(ID, other))
  })

  it('does not hide the others from the list', async () => {
    const other = '20261126T080312Z-production-dddd'
    await writeSamples(bench, other)
    await bench.server.flipByte(BUCKET, `${FOLDER}manifest.json`, 5)
    const unreadable: string[] = []
    const listed = listArchives(
      { ...deps(), onUnreadable: (id, error) => unreadable.push(`${id} ${error.code}`) },
      deadline(),
    )
    expect((await Array.fromAsync(listed)).map(({ id }) => id)).toEqual([other])
    expect(unreadable).toEqual([`${ID} archive-untrusted`])
    await expect(Array.fromAsync(listArchives(deps(), deadline()))).rejects.toMatchObject({ code: 'archive-untrusted' })
    for (const key of await bench.server.keys(BUCKET, `${PREFIX}/archives/${other}/`))
      await bench.server.remove(BUCKET, key)
  })

  it('T18: is unpacked no further than its manifest says, definitions as little as rows', async () => {
    const name = '000-pre-data.sql.gz'
    // Forty times the same 20 MB of newlines: 800 MB in 800 kB, as a dump that somebody made for us.
    const bomb = Buffer.concat(Array.from({ length: 40 }, () => NEWLINES))
    const manifest = manifestSchema.parse(JSON.parse((intact.get(`${FOLDER}manifest.json`) ?? '').toString()))
    const object = manifest.objects.find(({ key }) => key === name)
    if (!object) throw new Error(`the archive has no ${name}`)
    Object.assign(object, { compressed_bytes: bomb.length, sha256: createHash('sha256').update(bomb).digest('hex') })
    const bytes = Buffer.from(JSON.stringify(manifest))
    await bench.store.putText(FOLDER + name, bomb, { signal: deadline() })
    await bench.store.putText(`${FOLDER}manifest.json`, bytes, { signal: deadline() })
    // Even our own key does not make it good.
    await bench.store.putText(`${FOLDER}manifest.json.jws`, await bench.signer.sign(bytes), { signal: deadline() })
    const archive = await open()
    const before = process.memoryUsage.rss()
    await expect(archive.readSql(name)).rejects.toMatchObject({
      code: 'archive-damaged',
      message: expect.stringContaining('more than the manifest says'),
    })
    expect(process.memoryUsage.rss() - before).toBeLessThan(200_000_000)
  })

  it('T18 G22: is not believed when somebody put a dump of their own there, with its own manifest', async () => {
    const { signer } = await makeSigner()
    const foreign = await startBench()
    await using _ = foreign
    await writeSamples({ ...foreign, signer })
    for (const key of await foreign.server.keys(BUCKET)) {
      await bench.store.putText(key, await foreign.server.read(BUCKET, key), { signal: deadline() })
    }
    await expect(open()).rejects.toMatchObject({ code: 'archive-untrusted' })
  })

  describe('whose manifest agrees with a bad object', () => {
    const header = 'COPY;\n'
    async function read(content: string, facts: { rows?: number; bytes?: number }): Promise<unknown> {
      const packed = gzipSync(Buffer.from(content))
      const sha256 = createHash('sha256').update(packed).digest('hex')
      const part = {
        key: 'p.sql.gz',
        header_bytes: header.length,
        rows: 1,
        bytes: 2,
        compressed_bytes: packed.length,
        sha256,
        ...facts,
      }
      return await pipeline(openRows(Readable.from([packed]), part, deadline()), nowhere())
    }

    it('T17: is refused for a wrong count, a wrong length, a wrong end', async () => {
      await read(`${header}1\n\\.\n`, {})
      const refused = { code: 'archive-damaged' }
      await expect(read(`${header}1\n\\.\n`, { rows: 2 })).rejects.toMatchObject(refused)
      await expect(read(`${header}\n\n\\.\n`, { rows: 1 })).rejects.toMatchObject(refused)
      await expect(read(`${header}1\n\\.\n`, { bytes: 3 })).rejects.toMatchObject(refused)
      await expect(read(`${header}1\n\\.\n`, { bytes: 1 })).rejects.toMatchObject(refused)
      await expect(read(`${header}1\nx.\n`, {})).rejects.toMatchObject(refused)
      await expect(read(`${header}1\n`, {})).rejects.toMatchObject(refused)
      await expect(read('', {})).rejects.toMatchObject(refused)
    })

    it('T18: is read no further than the manifest says, however much it unpacks to', async () => {
      // Forty times the same 20 MB of newlines: reading on would unpack 800 MB.
      const packed = NEWLINES
      let fed = 0
      function* members(): Generator<Buffer> {
        for (; fed < 40; fed += 1) yield packed
      }
      const source = Readable.from(members(), { objectMode: false, highWaterMark: 1000 })
      const part = {
        key: 'p.sql.gz',
        header_bytes: 1,
        rows: 1,
        bytes: 2,
        compressed_bytes: 40 * packed.length,
        sha256: '',
      }
      await expect(pipeline(openRows(source, part, deadline()), nowhere())).rejects.toMatchObject({
        code: 'archive-damaged',
        message: expect.stringContaining('more than the manifest says'),
      })
      expect(fed).toBeLessThan(20)
      expect(source.destroyed).toBe(true)
    })
  })
})

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, callback) => callback() })
}
