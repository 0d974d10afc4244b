import { execFile, execFileSync } from 'node:child_process'
import { chmod, chown, mkdtemp, open, rm, rmdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { temporaryRoot, unprivilegedUser } from '../../../shared/testing/postgres/unprivileged-user.ts'

const run = promisify(execFile)

export interface SmallDisk extends AsyncDisposable {
  /** The server may write there. */
  folder: string
  /** Leaves so much; what fills it is gone again when this is disposed. */
  fill(leaveBytes: number): Promise<AsyncDisposable>
}

/** A disk of so many bytes, or why there is none: only root mounts one. Nobody may use it any more when it is disposed. */
export async function openSmallDisk(bytes: number): Promise<SmallDisk | string> {
  const user = unprivilegedUser()
  if (process.platform !== 'linux' || user === undefined) return 'only root on Linux mounts a disk'
  await using made = new AsyncDisposableStack()
  const folder = await mkdtemp(join(temporaryRoot(user), 'mbs-disk-'))
  made.defer(async () => await rmdir(folder))
  await chmod(folder, 0o755)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder])
  } catch (error) {
    return `mount(8): ${(error as Error).message.trim()}`
  }
  // A run that is interrupted leaves no disk behind.
  const unmountNow = (): void => void execFileSync('umount', ['--lazy', folder])
  process.once('exit', unmountNow)
  made.defer(async () => {
    process.off('exit', unmountNow)
    await run('umount', [folder])
  })
  await chown(folder, user.uid, user.gid)
  const owned = made.move()
  return {
    folder,
    fill: async (leaveBytes) => {
      const { bavail, bsize } = await statfs(folder)
      const path = join(folder, 'filler')
      await using file = await open(path, 'w')
      const zeros = Buffer.alloc(1024 * 1024)
      for (let left = bavail * bsize - leaveBytes; left > 0; left -= zeros.length) {
        await file.write(zeros, 0, Math.min(left, zeros.length))
      }
      return { [Symbol.asyncDispose]: async () => await rm(path) }
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  }
}
