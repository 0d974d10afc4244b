import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startTypesense, type FakeTypesense } from '../testing/typesense.ts'
import { writeDouble } from '../testing/typesense/write-double.ts'

/** What our search server does with documents, as measured on a real one or read in its source. */

let typesense: FakeTypesense
beforeEach(async () => void (typesense = await startTypesense()))
afterEach(async () => await typesense.close())

async function ask(method: string, path: string, body?: object | string | Buffer) {
  const text = typeof body === 'string' ? body : Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body)
  const answer = await fetch(`${typesense.url}${path}`, {
    method,
    headers: { 'x-typesense-api-key': typesense.apiKey },
    ...(text !== undefined && { body: text }),
  })
  return { status: answer.status, text: await answer.text() }
}
const make = async (fields: object[], more: object = {}) =>
  await ask('POST', '/collections', { name: 'c', fields, ...more })
const send = async (body: string | Buffer, query = 'action=create') =>
  (await ask('POST', `/collections/c/documents/import?${query}`, body)).text
const TAKEN = '{"success":true}'
const title = { name: 'title', type: 'string' }

describe('an import', () => {
  beforeEach(async () => void (await make([title])))

  it('of which one byte is missing is not applied', async () => {
    const body = '{"id":"1","title":"a"}\n{"id":"2","title":"b"}'
    const socket = connect(Number(new URL(typesense.url).port), '127.0.0.1')
    const head = [
      'POST /collections/c/documents/import HTTP/1.1',
      'host: localhost',
      `x-typesense-api-key: ${typesense.apiKey}`,
      `content-length: ${body.length + 1}`,
    ]
    await new Promise<void>((resolve) => socket.write(`${head.join('\r\n')}\r\n\r\n${body}`, () => resolve()))
    await pause(50)
    expect(typesense.documents('c')).toEqual([])
    socket.destroy()
    await pause(50)
    expect(typesense.documents('c')).toEqual([])
  })

  it('is taken zipped, and one that was cut off when it was zipped as far as it goes', async () => {
    const lines = Array.from({ length: 2000 }, (_, n) => `{"id":"${n}","title":"Part ${n * 7919}"}`)
    expect((await send(gzipSync(lines.slice(0, 2).join('\n')))).split('\n')).toEqual([TAKEN, TAKEN])
    const zipped = gzipSync(lines.join('\n'))
    const answers = (await send(zipped.subarray(0, zipped.length - 1000), 'action=upsert')).split('\n')
    expect(answers.length).toBeGreaterThan(100)
    expect(answers.length).toBeLessThan(2000)
  })

  it('may end its lines as on Windows, and hold blank ones, and words of any language', async () => {
    expect(await send('{"id":"1","title":"Größe 💡"}\r\n\r\n\n{"id":"2","title":"\\u0000"}\r\n')).toBe(
      `${TAKEN}\n${TAKEN}`,
    )
    expect(typesense.documents('c')).toEqual(['{"id":"1","title":"Größe 💡"}', '{"id":"2","title":"\\u0000"}'])
  })

  it('loses bytes that are no UTF-8, and keeps the character that stands for them', async () => {
    const line = Buffer.from('{"id":"1","title":"a?b\uFFFD"}')
    line[line.indexOf('?')] = 0xff
    expect(await send(line)).toBe(TAKEN)
    expect(typesense.documents('c')).toEqual(['{"id":"1","title":"ab\uFFFD"}'])
  })

  it.each([
    ['NaN', '{"id":"1","title":"x","n":NaN}'],
    ['half a surrogate pair', '{"id":"1","title":"\\ud800"}'],
    ['a list', '[]'],
    ['two documents', '{"id":"1","title":"x"}{}'],
    ['a comma too many', '{"id":"1","title":"x",}'],
    ['a raw tab', '{"id":"1","title":"\t"}'],
    ['no end', '{"id":"1","title":"x'],
    ['a number beyond all doubles', '{"id":"1","title":"x","n":1e999}'],
  ])('refuses a line with %s', async (_, line) => {
    expect(await send(line)).toMatch(/^\{"code":400,"error":"Bad JSON: .*","success":false\}$/)
  })

  it('gives ids to documents that have none, again each time', async () => {
    await send('{"title":"a"}\n{"title":"b"}')
    await send('{"title":"a"}', 'action=upsert')
    expect(new Set(typesense.documents('c')).size).toBe(3)
  })

  it('tells ids and documents where it is asked to, also of what it refuses', async () => {
    const answers = await send('{"id":"1","title":"a"}\n{"id":"1","title":"b"}', 'return_id=true&return_doc=true')
    expect(answers.split('\n')).toEqual([
      '{"document":{"id":"1","title":"a"},"id":"1","success":true}',
      '{"code":409,"document":"{\\"id\\":\\"1\\",\\"title\\":\\"b\\"}","error":"A document with id 1 already exists.","id":"1","success":false}',
    ])
  })

  it('does not double what comes after a hole, nor lose it when holes are closed', async () => {
    const long = 'x'.repeat(2000)
    const lines = Array.from({ length: 3000 }, (_, n) => `{"id":"${n}","title":"${long}"}`)
    await send(lines.join('\n'))
    for (let turn = 0; turn < 2; turn += 1) await send(lines.join('\n'), 'action=upsert')
    await ask('DELETE', '/collections/c/documents?filter_by=id:[`0`,`2999`]')
    const held = typesense.documents('c')
    expect(held).toHaveLength(2998)
    expect(held[0]).toBe(lines[1])
    expect(held.at(-1)).toBe(lines[2998])
  })
})

describe('numbers', () => {
  it('are written as the server writes them', async () => {
    await make([title])
    const numbers = [
      '9223372036854775807',
      '18446744073709551615',
      '18446744073709551616',
      '1.10',
      '1.0',
      '-0',
      '0.0001',
    ]
    const more = ['1e15', '1e-5', '123456789012345.5', '100000000000000000000', '1E3', '-1.5e300']
    await send(`{"id":"1","title":"x","n":[${[...numbers, ...more].join(',')}]}`)
    const written =
      '[9223372036854775807,18446744073709551615,1.8446744073709552e+19,1.1,1.0,0,0.0001,1e+15,1e-05,123456789012345.5,1e+20,1000.0,-1.5e+300]'
    expect(typesense.documents('c')).toEqual([`{"id":"1","n":${written},"title":"x"}`])
  })

  it.each([
    // What the server's JSON library prints: not always the fewest digits, nor the nearest ones.
    ['11878280.6409', '11878280.640900001'],
    ['22563585.1568', '22563585.156800002'],
    ['3.626397960670264e17', '3.6263979606702643e+17'],
    ['2.718316374298659e276', '2.7183163742986588e+276'],
    ['1234567890123456.7891', '1.2345678901234567e+15'],
    ['1e23', '9.999999999999999e+22'],
    ['9007199254740993.5', '9.007199254740994e+15'],
    ['999999999999999.9', '999999999999999.9'],
    ['5e-324', '5e-324'],
    ['2.2250738585072014e-308', '2.2250738585072014e-308'],
    ['1.7976931348623157e308', '1.7976931348623157e+308'],
  ])('%s are written %s', (told, written) => expect(writeDouble(Number(told))).toBe(written))

  it('with a point are no integers, whatever they are worth', async () => {
    await make([{ name: 'n', type: 'int64' }])
    expect(await send('{"id":"1","n":23.0}')).toContain('Field `n` must be an int64.')
    expect(await send('{"id":"1","n":23}')).toBe(TAKEN)
  })
})

describe('nulls', () => {
  const fields = [
    { name: 'required', type: 'string[]' },
    { name: 'optional', type: 'string', optional: true },
    { name: 'object', type: 'object', optional: true },
  ]
  const line = '{"id":"1","required":null,"optional":null,"object":{"a":null,"b":1},"undeclared":{"a":null}}'

  it('of a new document stay only where nothing is declared, and are an empty list in a required one', async () => {
    await make(fields, { enable_nested_fields: true })
    expect(await send(line)).toBe(TAKEN)
    expect(typesense.documents('c')).toEqual(['{"id":"1","object":{"b":1},"required":[],"undeclared":{"a":null}}'])
  })

  it('of a document that replaces one are gone at any depth', async () => {
    await make(fields, { enable_nested_fields: true })
    await send(line)
    await send(line, 'action=upsert')
    expect(typesense.documents('c')).toEqual(['{"id":"1","object":{"b":1},"required":[],"undeclared":{}}'])
  })

  it('in a list stay by turns: what equals the held list but for its nulls is taken as it is', async () => {
    await make(fields, { enable_nested_fields: true })
    const held = []
    for (let turn = 0; turn < 3; turn += 1) {
      await send('{"id":"1","required":[],"list":[{"a":null},1]}', 'action=upsert')
      held.push(...typesense.documents('c').map((document) => /"list":(.*),"req/.exec(document)?.[1]))
    }
    expect(held).toEqual(['[{"a":null},1]', '[{},1]', '[{"a":null},1]'])
  })

  it('take a field out with emplace, and what is not told stays', async () => {
    await make([title, { name: 'note', type: 'string', optional: true }])
    await send('{"id":"1","title":"a","note":"n"}')
    await send('{"id":"1","note":null}', 'action=emplace')
    expect(typesense.documents('c')).toEqual(['{"id":"1","title":"a"}'])
  })
})

describe('objects', () => {
  it('get their children from the first document, and hold later ones against them', async () => {
    await make([{ name: 'specs', type: 'object' }], { enable_nested_fields: true })
    await send('{"id":"1","specs":{"w":1,"dim":{"h":1.5},"tags":["a"]}}')
    const told = JSON.parse((await ask('GET', '/collections/c')).text) as { fields: { name: string; type: string }[] }
    expect(told.fields.map(({ name, type }) => `${name} ${type}`)).toEqual([
      'specs object',
      'specs.w int64',
      'specs.dim.h float',
      'specs.tags string[]',
    ])
    expect(await send('{"id":"2","specs":{"w":1.5}}')).toContain('"code":400')
    expect(await send('{"id":"3","specs":{"dim":{"h":2}}}')).toBe(TAKEN)
    expect(await send('{"id":"4","specs":[{"w":1}]}')).toContain('Field `specs` has an incorrect type.')
    expect(await send('{"id":"5"}')).toContain('"code":404,"error":"Field `specs` not found."')
  })
})

describe('filters', () => {
  it('find by words, lists, ranges and more than one of them', async () => {
    await make([title, { name: 'qty', type: 'int32' }, { name: 'on', type: 'bool' }])
    await send([1, 2, 3, 4].map((n) => `{"id":"${n}","title":"Hex Bolt M${n}","qty":${n},"on":${n > 2}}`).join('\n'))
    const found = async (filter: string) =>
      (await ask('GET', `/collections/c/documents/export?include_fields=id&filter_by=${encodeURIComponent(filter)}`))
        .text
    expect(await found('qty:[2..3] && on:true')).toBe('{"id":"3"}')
    expect(await found('(qty:<2 || qty:>=4) && title:bolt')).toBe('{"id":"1"}\n{"id":"4"}')
    expect(await found('title:=`Hex Bolt M2`')).toBe('{"id":"2"}')
    expect(await found('qty:!=[1,2,3]')).toBe('{"id":"4"}')
    expect(await found('id:=[`4`, 1]')).toBe('{"id":"1"}\n{"id":"4"}')
    expect(await found('id:=[`*`]')).toHaveLength(43)
    expect(await found('nofield:=1')).toBe(
      '{"message": "Could not find a filter field named `nofield` in the schema."}',
    )
  })

  it('that make a URL too long are refused', async () => {
    await make([title])
    const ids = (count: number) => encodeURIComponent(`id:=[${Array.from({ length: count }, (_, n) => n).join(',')}]`)
    const path = '/collections/c/documents?filter_by='
    expect((await ask('DELETE', `${path}${ids(20_000)}`)).status).toBe(200)
    expect(await ask('DELETE', `${path}${ids(80_000)}`)).toEqual({ status: 400, text: 'Bad Request' })
  })
})

describe('a server that only counts', () => {
  it('takes documents without holding them', async () => {
    await using counting = await startTypesense({ keepDocuments: false })
    const headers = { 'x-typesense-api-key': counting.apiKey }
    await fetch(`${counting.url}/collections`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ name: 'c', fields: [title] }),
    })
    const path = `${counting.url}/collections/c/documents/import`
    const answer = await fetch(path, { method: 'POST', headers, body: '{"id":"1"}\n\n{"id":"2"}\n' })
    expect(await answer.text()).toBe(`${TAKEN}\n${TAKEN}`)
    const told = await (await fetch(`${counting.url}/collections/c`, { headers })).text()
    expect(told).toContain('"num_documents":2')
    expect(counting.documents('c')).toEqual([])
  })
})
