import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FrameReader, parseServerError } from './protocol-frames.ts'

function frame(type: string, body: Buffer): Buffer {
  const head = Buffer.from(`${type}0000`)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

test('Messages come out whole and in order, in whatever pieces they arrive', () => {
  const body = fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes))
  fc.assert(
    fc.property(fc.array(body), fc.array(fc.nat({ max: 40 })), (bodies, cuts) => {
      const frames = bodies.map((bytes) => frame('D', bytes))
      let stream = Buffer.concat(frames)
      const reader = new FrameReader()
      const seen: Buffer[] = []
      for (const cut of [...cuts, stream.length]) {
        seen.push(...reader.push(stream.subarray(0, cut)))
        stream = stream.subarray(cut)
      }
      expect(seen).toEqual(frames)
    }),
  )
})

test('A message that claims to be shorter than its head is an error, not an endless loop', () => {
  expect(() => new FrameReader().push(Buffer.from([0x5a, 0, 0, 0, 0]))).toThrow('shorter than its head')
})

test("A server's error gives its code, message and context", () => {
  const fields = 'SERROR\0VERROR\0C42501\0Mpermission denied for table ü\0DFailing row\0WSQL function\0\0'
  expect(parseServerError(frame('E', Buffer.from(fields)))).toEqual({
    code: '42501',
    message: 'permission denied for table ü',
    where: 'SQL function',
  })
})
