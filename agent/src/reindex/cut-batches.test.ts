import { expect, test } from 'vitest'
import { cutBatches, mostLineBytes, type Batch, type BatchLimits } from './cut-batches.ts'

/** The batches of a text that comes in pieces of so many bytes. */
function cut(text: string, pieceBytes: number, limits: BatchLimits): Batch[] {
  const cutter = cutBatches(limits)
  const bytes = Buffer.from(text)
  const batches: Batch[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes)
    batches.push(...cutter.push(bytes.subarray(at, at + pieceBytes)))
  const rest = cutter.end()
  return rest ? [...batches, rest] : batches
}

function texts(batches: Batch[]): string[] {
  return batches.map(({ body }) => body.toString())
}

const everyPiece = Array.from({ length: 24 }, (_, index) => index + 1)

test.each(everyPiece)('Pieces of %i bytes change nothing: lines stay whole, in order, within both limits', (piece) => {
  const lines = [
    '{"a":1}\n',
    '{"b":"ü"}\n',
    '{}\n',
    '{"c":"a longer line than the others"}\n',
    '{}\n',
    '{"棚":2}\n',
    '{}\n',
  ]
  const byLines = cut(lines.join(''), piece, { maxLines: 3, maxBytes: 1000 })
  expect(texts(byLines)).toEqual([lines.slice(0, 3), lines.slice(3, 6), lines.slice(6)].map((some) => some.join('')))
  expect(byLines.map((batch) => batch.lines)).toEqual([3, 3, 1])
  const byBytes = cut(lines.join(''), piece, { maxLines: 1000, maxBytes: 25 })
  expect(texts(byBytes)).toEqual([
    '{"a":1}\n{"b":"ü"}\n{}\n',
    '{"c":"a longer line than the others"}\n',
    '{}\n{"棚":2}\n{}\n',
  ])
  expect(byBytes.map((batch) => batch.lines)).toEqual([3, 1, 3])
})

test.each(everyPiece)('Every line can be a batch of its own, in pieces of %i bytes', (piece) => {
  const text = '{"a":1}\n{"b":2222}\n{}\n'
  for (const limits of [
    { maxLines: 1, maxBytes: 1000 },
    { maxLines: 1000, maxBytes: 1 },
  ]) {
    expect(texts(cut(text, piece, limits))).toEqual(['{"a":1}\n', '{"b":2222}\n', '{}\n'])
  }
})

test('Of nothing there is no batch', () => {
  expect(cut('', 1, { maxLines: 1, maxBytes: 1 })).toEqual([])
})

test('A line that is too large is refused by its size, in one piece or in many, before it is whole', () => {
  const limits = { maxLines: 10, maxBytes: 1000 }
  const line = `{"secret":"${'x'.repeat(mostLineBytes)}"}\n`
  const refused = expect.objectContaining({
    code: 'documents-rejected',
    message: 'A document is larger than 16.8 MB.',
  }) as unknown
  expect(() => cut(line, line.length, limits)).toThrow(refused)
  const cutter = cutBatches(limits)
  const piece = Buffer.alloc(1024 * 1024, 'x')
  expect(() => {
    for (let bytes = 0; bytes <= mostLineBytes; bytes += piece.length) cutter.push(piece)
  }).toThrow(refused)
  const allowed = `{"a":"${'x'.repeat(mostLineBytes - 9)}"}\n`
  expect(cut(allowed, 64 * 1024, limits).map(({ body, lines }) => [body.length, lines])).toEqual([[mostLineBytes, 1]])
})

test.each(everyPiece.slice(0, 9))('NULLs and quoted texts are refused, in pieces of %i bytes', (piece) => {
  const limits = { maxLines: 10, maxBytes: 1000 }
  expect(() => cut('{"a":1}\n\n{}\n', piece, limits)).toThrow('NULL')
  expect(() => cut('\n', piece, limits)).toThrow('NULL')
  expect(() => cut('{"a":1}\n\x01{"a":\n1}\x01\n', piece, limits)).toThrow('control character')
})

test('What ends in the middle of a line is no end', () => {
  expect(() => cut('{"a":1}\n{"b"', 4, { maxLines: 10, maxBytes: 1000 })).toThrow('in the middle')
})
