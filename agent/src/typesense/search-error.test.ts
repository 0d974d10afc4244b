import { expect, it } from 'vitest'
import { fromAnswer, fromNetworkError } from './search-error.ts'

const doing = 'listing collections'
const json = (status: number, message: string) => ({
  status,
  contentType: 'application/json; charset=utf-8',
  text: JSON.stringify({ message }),
})
const html = (status: number) => ({ status, contentType: 'text/html', text: '<html>x</html>' })

it.each([
  ['a bad key', json(401, 'Forbidden'), 'search-auth', false],
  ['no disk left', json(422, 'Rejecting write: running out of resource type: OUT_OF_DISK'), 'search-full', false],
  ['no memory left', json(422, 'Rejecting write: running out of resource type: OUT_OF_MEMORY'), 'search-full', false],
  ['too many queued writes', json(503, 'Not Ready or Lagging'), 'search-unreachable', true],
  ['a proxy without its server', html(502), 'search-unreachable', true],
  ['a proxy that waited too long', html(504), 'search-unreachable', true],
  ['too many requests', json(429, 'slow down'), 'search-unreachable', true],
  ['a login page', html(200), 'search-unreachable', true],
  ['a stranger’s 404', html(404), 'search-unreachable', true],
  ['a redirect', html(301), 'search-failed', false],
  ['a body that is too large', html(413), 'search-failed', false],
  [
    'another change of the schema',
    json(422, 'Another collection update operation is in progress.'),
    'search-failed',
    true,
  ],
  ['skipped writes', json(422, 'Skipping writes.'), 'search-failed', false],
  ['a name that is taken', json(500, 'Name `x` conflicts with an existing collection name.'), 'search-failed', false],
  ['a bad schema', json(400, 'Field `t` has an invalid data type `strin`.'), 'search-failed', false],
] as const)('%s becomes a known error', (_what, answer, code, retryable) => {
  const error = fromAnswer(answer, { doing })
  expect(error).toMatchObject({ code, retryable, status: answer.status })
  expect(error.message).toContain(doing)
  expect(error.hint).not.toBe('')
})

it('tells what the server says of names', () => {
  const said = json(400, 'Field `t` has an invalid data type `strin`.\nSee https://user:pass@example.com/x now')
  expect(fromAnswer(said, { doing }).message).toBe(
    'The search server refused a request (HTTP 400, listing collections): Field `t` has an invalid data type `strin`. See … now',
  )
})

it('keeps to itself what the server says of documents', () => {
  const said = json(404, 'Could not find a document with id: ann@example.com')
  const error = fromAnswer(said, { doing: 'reading a document', isPrivate: true })
  expect(`${error.message} ${error.hint} ${error.details.join(' ')}`).not.toContain('ann')
})

it.each([
  ['ECONNREFUSED', true],
  ['ENOTFOUND', true],
  ['ECONNRESET', true],
  ['REPLY_TIMEOUT', true],
  ['CERT_HAS_EXPIRED', false],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', false],
  ['ERR_TLS_CERT_ALTNAME_INVALID', false],
  ['EPROTO', false],
])('a connection that fails with %s can be tried again: %s', (code, retryable) => {
  const raised = Object.assign(new Error('connect 10.0.0.5:8108'), { code })
  const error = fromNetworkError(raised, doing)
  expect(error).toMatchObject({ code: 'search-unreachable', retryable })
  expect(error.message).not.toContain('10.0.0.5')
})
