import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { countRows, frameRows, partHeader } from './frame-rows.ts'

const column = { type: 'text', not_null: false, has_default: false, identity: '' as const }

describe('a part', () => {
  it('begins with a COPY statement that names every column that is in the rows', () => {
    const header = partHeader({ schema: 'public', name: 'Part "x"' }, 3, [
      { ...column, name: 'id', generated: '' },
      { ...column, name: 'sum', generated: 's' },
      { ...column, name: 'a"b', generated: '' },
    ])
    expect(header.toString().split('\n')).toEqual([
      '-- multiboard-sync archive, format 1: public.Part%20%22x%22, part 3',
      "SET client_encoding = 'UTF8';",
      'COPY "public"."Part ""x""" ("id", "a""b") FROM stdin;',
      '',
    ])
  })

  it('has no column list when the table has no columns', () => {
    expect(partHeader({ schema: 's', name: 't' }, 0, []).toString()).toContain('COPY "s"."t" FROM stdin;\n')
  })

  it('cannot be broken out of by a name with a line break', () => {
    const lines = partHeader({ schema: 's', name: 'x\nDROP TABLE y;--' }, 0, []).toString().split('\n')
    expect(lines[0]).toContain('x%0ADROP%20TABLE%20y%3B--')
    expect(lines[2]).toBe('COPY "s"."x')
  })

  it('counts rows however they are cut into chunks', async () => {
    expect(countRows(Buffer.from('\n\na\n'))).toBe(3)
    const { stream, counted } = frameRows(Buffer.from('HEAD\n'))
    const out: Buffer[] = []
    await pipeline(
      Readable.from(['1\ta', '\n2', '\tb\n', ''].map((text) => Buffer.from(text))),
      stream,
      async (rows) => {
        for await (const chunk of rows as AsyncIterable<Buffer>) out.push(chunk)
      },
    )
    expect(Buffer.concat(out).toString()).toBe('HEAD\n1\ta\n2\tb\n\\.\n')
    expect(counted).toEqual({ rows: 2, bytes: 8 })
  })

  it('fails when the rows end in the middle of a row', async () => {
    const { stream } = frameRows(Buffer.from('HEAD\n'))
    stream.resume()
    await expect(pipeline(Readable.from([Buffer.from('1\ta\n2')]), stream)).rejects.toMatchObject({
      code: 'connection-lost',
    })
  })
})
