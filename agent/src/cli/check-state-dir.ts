import type { StatsFs } from 'node:fs'
import { access, constants, mkdir, statfs } from 'node:fs/promises'
import { formatBytes } from '@multiboard-sync/shared/sizes'
import { SyncError } from '@multiboard-sync/shared/sync-error'

/** A job's events take up to 64 MB while the control plane is away; journal and trace a few more. */
const LEAST_BYTES = 100_000_000
const LEAST_FILES = 100

/** Whether a job could be written down there. Throws `config-invalid`, `disk-full`. */
export async function checkStateDir(stateDir: string): Promise<string> {
  const { bavail, bsize, files, ffree } = await look(stateDir)
  const free = bavail * bsize
  if (free < LEAST_BYTES) {
    throw new SyncError('disk-full', `The disk of the state folder has ${formatBytes(free)} left.`, {
      hint: `Make room where AGENT_STATE_DIR is, ${formatBytes(LEAST_BYTES)} at least: an order that cannot be written down is not taken.`,
    })
  }
  // Some file systems count no inodes.
  if (files > 0 && ffree < LEAST_FILES) {
    throw new SyncError('disk-full', `The file system of the state folder can take ${ffree} more files.`, {
      hint: 'Remove files there (df -i shows it), or put AGENT_STATE_DIR on another file system.',
    })
  }
  return `${stateDir} can be written to, ${formatBytes(free)} free`
}

async function look(stateDir: string): Promise<StatsFs> {
  try {
    await mkdir(stateDir, { recursive: true })
    await access(stateDir, constants.R_OK | constants.W_OK)
    return await statfs(stateDir)
  } catch (cause) {
    throw new SyncError('config-invalid', `The state folder ${stateDir} cannot be written to.`, {
      hint: 'Set AGENT_STATE_DIR to a folder that belongs to the agent and survives a restart.',
      cause,
    })
  }
}
