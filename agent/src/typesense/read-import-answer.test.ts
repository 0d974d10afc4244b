import { expect, it } from 'vitest'
import { readImportAnswer } from './read-import-answer.ts'

const TAKEN = '{"success":true}'
const REFUSED = '{"code":409,"error":"A document with id 3 already exists.","success":false}'

it('as many answers as lines are read, with what was refused by its line', () => {
  const text = [TAKEN, REFUSED, '{"success":true,"id":"5"}', '{"id":"6","success":true}'].join('\n')
  const refused = [{ line: 1, code: 409, error: 'A document with id 3 already exists.' }]
  expect(readImportAnswer(text, 4)).toEqual(refused)
  expect(readImportAnswer(`${text}\n`, 4)).toEqual(refused)
})

it('the documents that older servers echo are not kept', () => {
  const text = '{"code":400,"document":"{\\"secret\\":1}","error":"no","success":false}'
  expect(readImportAnswer(text, 1)).toEqual([{ line: 0, code: 400, error: 'no' }])
})

it.each([
  ['too few answers', `${TAKEN}\n${TAKEN}`, 3],
  ['too many answers', `${TAKEN}\n${TAKEN}`, 1],
  ['an empty answer', '', 1],
  ['a line that is cut off', `${TAKEN}\n{"code":400,"err`, 2],
  ['something else', '{"message":"Not Found"}', 1],
  ['an empty line', `${TAKEN}\n\n${TAKEN}`, 3],
])('%s is no answer', (_what, text, lines) => {
  expect(readImportAnswer(text, lines)).toBeUndefined()
})

it('no lines are answered by nothing', () => {
  expect(readImportAnswer('', 0)).toEqual([])
})
