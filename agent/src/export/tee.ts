import { Transform, type Writable } from 'node:stream'

/** A few chunks of a socket: enough that neither side waits for the other's single steps. */
export const TEE_BYTES = 256 * 1024

/**
 * Gives on what it is given, and gives it to the branch as well; takes more only when both have room, so that the slower
 * one holds back the source. Does not end the branch.
 */
export function teeInto(branch: Writable): Transform {
  return new Transform({
    highWaterMark: TEE_BYTES,
    transform(chunk: Buffer, _encoding, callback) {
      if (branch.write(chunk)) return callback(null, chunk)
      branch.once('drain', () => callback(null, chunk))
    },
  })
}
