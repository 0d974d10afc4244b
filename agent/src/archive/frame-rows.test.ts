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
    const counted = { rows: 0, bytes: 0 }
    const rows = inOneBuffer(['1\ta', '\n2', '\tb\n', ''])
    expect(await textOf(frameRows(rows, Buffer.from('HEAD\n'), counted))).toBe('HEAD\n1\ta\n2\tb\n\\.\n')
    expect(counted).toEqual({ rows: 2, bytes: 8 })
  })

  it('keeps what small and large chunks held when their memory is written again', async () => {
    const texts = [10, 30_000, 30_000, 30_000, 200_000, 5, 200_000].map((length, n) => `${`${n}`.repeat(length)}\n`)
    const counted = { rows: 0, bytes: 0 }
    const text = await textOf(frameRows(inOneBuffer(texts), Buffer.from('HEAD\n'), counted))
    expect(text === `HEAD\n${texts.join('')}\\.\n`).toBe(true)
    expect(counted.rows).toBe(texts.length)
  })

  it('fails when the rows end in the middle of a row', async () => {
    const rows = inOneBuffer(['1\ta\n2'])
    await expect(textOf(frameRows(rows, Buffer.from('HEAD\n'), { rows: 0, bytes: 0 }))).rejects.toMatchObject({
      code: 'connection-lost',
    })
  })
})

/** As a COPY gives its rows: a chunk is good until the next one is asked for. */
async function* inOneBuffer(texts: string[]): AsyncGenerator<Buffer> {
  const memory = Buffer.alloc(Math.max(...texts.map((text) => text.length)))
  for (const text of texts) {
    yield memory.subarray(0, memory.write(text))
    memory.fill('?')
  }
}

async function textOf(chunks: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of chunks) text += chunk.toString()
  return text
}
