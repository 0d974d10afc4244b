import { expect, it } from 'vitest'
import { normaliseRefusal } from './normalise-refusal.ts'

it.each([
  'Field `qty` has been declared in the schema, but is not found in the document.',
  'Field `pop` has been declared as a default sorting field, but is not found in the document.',
  'Field `qty` must be an int32.',
  'Field `specs.w` must be an array of string.',
  'Field `loc` must be a 2 element array: [lat, lng].',
  'Field `qty` exceeds maximum value of int32.',
  "Document's `id` field should be a string.",
  'The `id` should not be empty.',
])('what is said of a field is kept: %s', (error) => {
  expect(normaliseRefusal(error)).toBe(error)
})

it.each([
  ['A document with id 2 already exists.', 'A document with id … already exists.'],
  ['A document with id ann@example.com\n already exists already exists.', 'A document with id … already exists.'],
  ['Could not find a document with id: zzz', 'Could not find a document with id ….'],
  [
    "Bad JSON: [json.exception.parse_error.101] parse error at line 1, column 2: last read: '{\"secret'",
    'Bad JSON: [json.exception.parse_error.101]',
  ],
  [
    'Reference document having `owner:= `ann`` not found in the collection `owners`.',
    'Reference document having … not found in the collection `owners`.',
  ],
  [
    'Multiple documents having `owner:= `ann`` found in the collection `owners`.',
    'Multiple documents having … found in the collection `owners`.',
  ],
  [
    '`ref` object array reference helper field has wrong value `[1,"ann"]`.',
    '… object array reference helper field has wrong value ….',
  ],
  ['Value of field `price` is 12345678.9 and not `cheap', 'Value of field `price` is … and not …'],
  ['Document jane-doe-7 is odd: it says "ann"', 'Document … is odd'],
  ['', 'no reason given'],
])('values and ids are left out of %s', (error, told) => {
  expect(normaliseRefusal(error)).toBe(told)
})

it('a long error is cut', () => {
  expect(normaliseRefusal(`${'word '.repeat(1000)}`).length).toBeLessThan(210)
})
