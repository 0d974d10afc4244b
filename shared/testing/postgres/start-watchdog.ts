import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface Watchdog {
  say(line: `server ${number}` | `initdb ${number}` | 'gone'): void
  /** Everything is put away: the watchdog ends without doing anything. */
  release(): void
}

/** Starts the process that ends a server and removes `folder` ('' for none) should we die without doing so. */
export function startWatchdog(folder: string): Watchdog {
  const child = spawn(process.execPath, [fileURLToPath(new URL('watchdog.ts', import.meta.url)), folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: { NODE_NO_WARNINGS: '1' },
  })
  const { stdin } = child
  // Somebody who kills the watchdog takes this protection away, and must not take the tests down with it.
  stdin.on('error', () => undefined)
  child.on('error', (error) => stdin.destroy(error))
  child.unref()
  if ('unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  return {
    say: (line) => void stdin.write(`${line}\n`),
    release: () => void stdin.end('done\n'),
  }
}
