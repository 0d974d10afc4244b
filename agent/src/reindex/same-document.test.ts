import { describe, expect, test } from 'vitest'
import { sameDocument } from './same-document.ts'

describe('two texts of a document', () => {
  test.each([
    ['{"id":"1","b":2,"a":[1,null,{"y":1,"x":2}]}', '{"a":[1,null,{"x":2,"y":1}],"b":2,"id":"1"}'],
    ['{"n":1.10}', '{"n":1.1}'],
    ['{"n":5}', '{"n":5.0}'],
    ['{"n":1e+15}', '{"n":1000000000000000.0}'],
    ['{"n":9007199254740993}', '{"n":9007199254740993}'],
    ['{"n":5e-324}', '{"n":4.9406564584124654e-324}'],
    ['{"n":-0}', '{"n":0}'],
    [String.raw`{"t":"a\"1\\"}`, String.raw`{"t":"a\u00221\\"}`],
    ['{"t":"é"}', String.raw`{"t":"\u00e9"}`],
  ])('%s is the same as %s', (row, stored) => {
    expect(sameDocument(row, stored)).toBe(true)
  })

  test.each([
    ['{"n":9007199254740993}', '{"n":9007199254740992}'],
    ['{"n":5}', '{"n":"5"}'],
    ['{"n":1.1}', '{"n":1.1000000000000003}'],
    ['{"a":[1,2]}', '{"a":[2,1]}'],
    ['{"a":null}', '{}'],
    ['{"t":"a,1"}', '{"t":"a,2"}'],
    ['{"t":"1.0"}', '{"t":"1"}'],
  ])('%s is not the same as %s', (row, stored) => {
    expect(sameDocument(row, stored)).toBe(false)
  })
})
