import { readFileSync, realpathSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'

export interface SystemUser {
  uid: number
  gid: number
}

/** Accounts that exist for nothing of their own, best first. */
const candidates = ['nobody', 'daemon', 'games']

/** PostgreSQL refuses to run as root: the user to run it as when we are root, undefined when we are not. */
export function unprivilegedUser(): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  for (const name of candidates) {
    const account = accounts.find((fields) => fields[0] === name)
    const uid = Number(account?.[2])
    const gid = Number(account?.[3])
    if (Number.isInteger(uid) && Number.isInteger(gid) && uid > 0) return { uid, gid }
  }
  throw new Error(`running as root, and /etc/passwd has none of ${candidates.join(', ')} to run PostgreSQL as`)
}

/** A temporary folder that the user can enter: root's own TMPDIR may be closed to others. */
export function temporaryRoot(user: SystemUser | undefined): string {
  const choices = [tmpdir(), '/tmp', '/var/tmp']
  for (const choice of choices) {
    try {
      const folder = realpathSync(choice)
      if (user === undefined || openToAll(folder)) return folder
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  throw new Error(`none of ${choices.join(', ')} can be entered by an unprivileged user`)
}

function openToAll(folder: string): boolean {
  const mayEnter = (statSync(folder).mode & 0o001) !== 0
  return mayEnter && (folder === dirname(folder) || openToAll(dirname(folder)))
}
