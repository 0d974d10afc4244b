import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { startChaosProxy, type ChaosProxy } from '../../../shared/testing/chaos-proxy.ts'
import { until, withDeadline } from '../../../shared/testing/postgres/deadline.ts'
import { freePort } from '../../../shared/testing/postgres/free-port.ts'

const SSHD = '/usr/sbin/sshd'
/** Where sshd, as root, puts its unprivileged half; it does not start without. */
const PRIVILEGE_FOLDER = '/run/sshd'

export interface Sshd extends AsyncDisposable {
  /** What scripts/deploy.sh is told. */
  host: string
  /** The line to it, which can be cut. */
  line: ChaosProxy
  /** For the client: reaches it by the name `host` through `line`, with a key made for it, and knows its host key. */
  configFile: string
}

/** Why there can be no sshd here; undefined when there can. */
export function whyNoSshd(): string | undefined {
  return [SSHD, '/usr/bin/ssh', '/usr/bin/ssh-keygen'].find((path) => !existsSync(path))?.concat(' is not installed')
}

/** An sshd of the machine's own make on loopback, with keys of its own. Sessions have these variables. */
export async function startSshd(folder: string, env: Record<string, string>): Promise<Sshd> {
  await using started = new AsyncDisposableStack()
  const path = (name: string): string => join(folder, name)
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o700)
  for (const name of ['host-key', 'client-key']) {
    execFileSync('/usr/bin/ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path(name)])
  }
  if (process.getuid?.() === 0 && !existsSync(PRIVILEGE_FOLDER)) {
    mkdirSync(PRIVILEGE_FOLDER)
    started.defer(() => rmSync(PRIVILEGE_FOLDER, { recursive: true, force: true }))
  }
  const port = await freePort()
  const lines = [
    'ListenAddress 127.0.0.1',
    `Port ${port}`,
    `HostKey ${path('host-key')}`,
    `AuthorizedKeysFile ${path('client-key.pub')}`,
    `PidFile ${path('sshd.pid')}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
    `SetEnv ${Object.entries(env)
      .map(([name, value]) => `"${name}=${value}"`)
      .join(' ')}`,
  ]
  writeFileSync(path('sshd_config'), `${lines.join('\n')}\n`)
  const child = spawn(SSHD, ['-D', '-E', path('sshd.log'), '-f', path('sshd_config')], { stdio: 'ignore' })
  started.defer(async () => {
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    await withDeadline('the end of sshd', 10_000, exit)
  })
  await until('sshd to listen', 10_000, async () => {
    if (child.exitCode !== null) throw new Error(`sshd ended with ${child.exitCode}: see ${path('sshd.log')}`)
    return await canConnect(port)
  })
  const line = started.use(await startChaosProxy({ target: { host: '127.0.0.1', port } }))
  execFileSync('bash', ['-c', `printf 'vps %s' "$(cat host-key.pub)" >known-hosts`], { cwd: folder })
  const config = [
    'Host vps',
    '  HostName 127.0.0.1',
    `  Port ${line.port}`,
    `  User ${userInfo().username}`,
    `  IdentityFile ${path('client-key')}`,
    '  IdentitiesOnly yes',
    '  HostKeyAlias vps',
    `  UserKnownHostsFile ${path('known-hosts')}`,
    '  StrictHostKeyChecking yes',
    '  BatchMode yes',
  ]
  writeFileSync(path('ssh_config'), `${config.join('\n')}\n`)
  const resources = started.move()
  return {
    host: 'vps',
    line,
    configFile: path('ssh_config'),
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

async function canConnect(port: number): Promise<boolean> {
  const socket = createConnection({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
