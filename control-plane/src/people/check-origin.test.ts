import { expect, test } from 'vitest'
import { checkLogin, checkOrigin, type RequestOrigin } from './check-origin.ts'

const own = 'https://sync.example.com'
const json = 'application/json'

const answerTo = (request: Partial<RequestOrigin>, check = checkOrigin): string => {
  try {
    check({ method: 'POST', origin: undefined, fetchSite: undefined, contentType: json, ...request }, own)
    return 'taken'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'broken'
  }
}

const strangers = ['https://evil.example.com', 'http://sync.example.com', `${own}.evil.com`, `${own}:8443`, 'null', '']

test('T13: what changes something comes from our own pages, says so, and is JSON', () => {
  expect(answerTo({ origin: own })).toBe('taken')
  expect(answerTo({ fetchSite: 'same-origin' })).toBe('taken')
  expect(answerTo({ origin: own, fetchSite: 'same-origin', contentType: 'Application/JSON; charset=utf-8' })).toBe(
    'taken',
  )

  expect(answerTo({})).toBe('forbidden')
  for (const origin of strangers) {
    expect(answerTo({ origin }), origin).toBe('forbidden')
    expect(answerTo({ origin, fetchSite: 'same-origin' }), origin).toBe('forbidden')
  }
  for (const fetchSite of ['cross-site', 'same-site', 'none', '', 'same-origin, cross-site']) {
    expect(answerTo({ fetchSite }), fetchSite).toBe('forbidden')
    expect(answerTo({ origin: own, fetchSite }), fetchSite).toBe('forbidden')
  }
  const forms = [
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain',
    'text/json',
    '',
    undefined,
  ]
  for (const contentType of forms) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      expect(answerTo({ method, origin: own, contentType }), `${method} ${contentType}`).toBe('forbidden')
    }
  }
})

test('T13: with a cookie nothing can be read from another site either', () => {
  const read = { method: 'GET', contentType: undefined }
  for (const fetchSite of [undefined, 'same-origin', 'none']) expect(answerTo({ ...read, fetchSite })).toBe('taken')
  for (const fetchSite of ['cross-site', 'same-site', 'x']) expect(answerTo({ ...read, fetchSite })).toBe('forbidden')
  for (const origin of strangers) expect(answerTo({ ...read, origin }), origin).toBe('forbidden')
})

test('T13: another site can log nobody in, a program can', () => {
  expect(answerTo({}, checkLogin)).toBe('taken')
  expect(answerTo({ origin: own, fetchSite: 'same-origin' }, checkLogin)).toBe('taken')
  for (const origin of strangers) expect(answerTo({ origin }, checkLogin), origin).toBe('forbidden')
  for (const fetchSite of ['cross-site', 'same-site', 'none'])
    expect(answerTo({ fetchSite }, checkLogin)).toBe('forbidden')
  expect(answerTo({ contentType: 'text/plain' }, checkLogin)).toBe('forbidden')
})
