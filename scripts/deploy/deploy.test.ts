import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { until } from '../../shared/testing/postgres/deadline.ts'
import { openVps, type Vps } from './testing/open-vps.ts'
import { whyNoSshd } from './testing/start-sshd.ts'

/*
 * scripts/deploy.sh over a real ssh to an sshd on loopback, whose machine is a folder. The tests are one story, in order.
 */

/** Packages, Node and several starts of the agent, on a machine that may be busy with other tests. */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 })

const missing = whyNoSshd()
if (missing !== undefined) process.stderr.write(`deploy.test.ts is skipped: ${missing}.\n`)

describe.skipIf(missing !== undefined)('deploy.sh', () => {
  let vps: Vps
  const app = (): string => join(vps.root, 'opt/multiboard-sync')
  const etc = (name: string): string => join(vps.root, 'etc/multiboard-sync', name)
  const MAIN = 'agent/src/main.ts'

  beforeAll(async () => {
    vps = await openVps()
  })
  afterAll(async () => await vps?.[Symbol.asyncDispose]())

  /** Every path with its kind, time, size and where it leads; not what the agent and the question whether it runs write. */
  const listAll = (): string => {
    const unwanted = ['*/node_modules', '*/var', '*/run', '*/systemctl.log'].flatMap((path) => ['-path', path, '-o'])
    const words = [
      vps.root,
      '(',
      ...unwanted,
      '-false',
      ')',
      '-prune',
      '-o',
      '-mindepth',
      '1',
      '-printf',
      '%p %y %T@ %s %l\n',
    ]
    return execFileSync('find', words, { encoding: 'utf8', maxBuffer: 64e6 }).split('\n').sort().join('\n')
  }

  test('--check of an empty machine says what would be done, and does nothing', async () => {
    const before = listAll()
    const { code, said } = await vps.deploy(['--check'])
    expect(said).toContain('would     fetch Node')
    expect(said).toMatch(/would {5}switch from nothing to 0\.1\.0-[0-9a-f]{10}, restart/)
    expect(said).toContain('missing   ')
    expect(code).toBe(1)
    expect(listAll()).toBe(before)
  })

  test('a trust file with a private key in it is refused before anything is sent', async () => {
    const { code, said } = await vps.deploy(['--trust', join(vps.folder, 'keys/control-plane.key.json')])
    expect(said).toContain('is no trust file')
    expect(code).toBe(2)
    const file = join(vps.folder, 'bad-trust.json')
    writeFileSync(
      file,
      JSON.stringify({ keys: [JSON.parse(readFileSync(join(vps.folder, 'keys/agent.key.json'), 'utf8'))] }),
    )
    const second = await vps.deploy(['--trust', file])
    expect(second.said).toContain('holds a private key')
    expect(second.code).toBe(2)
  })

  test('a first install puts everything in its place, starts nothing that is not configured, and says what to do', async () => {
    const { code, said } = await vps.deploy(['--control-plane-url', vps.url, '--trust', vps.trustFile])
    expect(said).toContain('is installed, and not started')
    expect(said).toContain('S3_BUCKET is not set')
    expect(said).toMatch(/1\. Addresses and keys[^]*nano [^]*2\. What may flow[^]*deploy\.sh vps --code mbse_/)
    expect(said).toContain('ssh -t vps ')
    expect(code).toBe(0)
    expect(vps.linked('current')).toMatch(/^0\.1\.0-[0-9a-f]{10}$/)
    expect(vps.pid()).toBeUndefined()
    expect(readFileSync(etc('agent.env'), 'utf8')).toContain(`CONTROL_PLANE_URL=${vps.url}\n`)
    expect(readFileSync(etc('trust.json'), 'utf8')).toBe(readFileSync(vps.trustFile, 'utf8'))
    expect(statSync(etc('agent.env')).mode & 0o777).toBe(0o640)
    expect(statSync(etc('')).mode & 0o777).toBe(0o750)
  })

  test('with a code the agent enrols, its key is made there, and it is started and well', async () => {
    vps.fillIn()
    const { code, said } = await vps.deploy(['--code', await vps.askForCode()])
    expect(said).toContain('enrolled  as vps-1')
    expect(said).toContain('runs and is well')
    expect(code).toBe(0)
    expect(readFileSync(etc('agent.env'), 'utf8')).toContain('AGENT_ID=vps-1\n')
    expect(vps.pid()).toBeGreaterThan(0)
    expect(await vps.agents()).toMatchObject([{ id: 'vps-1', alive: true }])
  })

  test('no private key, no secret and no code has been in an argument or gone over the line in the clear', async () => {
    const key = JSON.parse(readFileSync(join(vps.root, 'var/lib/multiboard-sync/agent.key.json'), 'utf8')) as {
      d: string
      x: string
    }
    expect(statSync(join(vps.root, 'var/lib/multiboard-sync/agent.key.json')).mode & 0o777).toBe(0o600)
    const wire = vps.wire()
    expect(wire).toContain('multiboard-sync')
    expect(wire).not.toContain(key.d)
    expect(wire).not.toContain('development-secret')
    const words = readFileSync(join(vps.folder, 'wire/words'), 'utf8')
    expect(words).toContain('--code -')
    expect(words).not.toContain('mbse_')
    // What travelled in the archive.
    const archive = execFileSync('find', [join(app(), 'releases'), '-name', '*.key.json'], { encoding: 'utf8' })
    expect(archive).toBe('')
    const holders = execFileSync('grep', ['-rlF', key.d, vps.root], { encoding: 'utf8' }).trim().split('\n')
    expect(holders).toEqual([join(vps.root, 'var/lib/multiboard-sync/agent.key.json')])
  })

  test('the same again changes and restarts nothing', async () => {
    const [pid, before] = [vps.pid(), listAll()]
    const { code, said } = await vps.deploy()
    expect(said).toContain('Nothing has changed; nothing was restarted.')
    expect(code).toBe(0)
    expect(vps.pid()).toBe(pid)
    const without = (text: string): string => text.replace(/^.*(install\.log|\.lock).*$/gm, '')
    expect(without(listAll())).toBe(without(before))
  })

  test('a changed policy is read again, a changed environment restarts the agent, both once', async () => {
    const pid = vps.pid()
    utimesSync(etc('agent.yaml'), new Date(), new Date())
    expect((await vps.deploy()).said).toContain('reads them again')
    expect(vps.pid()).toBe(pid)
    utimesSync(etc('agent.env'), new Date(), new Date())
    expect((await vps.deploy()).said).toContain('runs and is well')
    expect(vps.pid()).not.toBe(pid)
    expect((await vps.deploy()).said).toContain('Nothing has changed')
  })

  test('an upgrade replaces the release that runs, and keeps it', async () => {
    const [first, pid] = [vps.linked('current'), vps.pid()]
    vps.repository.commit(MAIN, (text) => `${text}\n// second\n`)
    const checked = await vps.deploy(['--check'])
    expect(checked.said).toContain(`switch from ${first}`)
    expect(checked.code).toBe(0)
    expect(vps.linked('current')).toBe(first)
    const { code, said } = await vps.deploy()
    expect(said).toContain('runs and is well')
    expect(code).toBe(0)
    expect(vps.linked('current')).not.toBe(first)
    expect(vps.linked('previous')).toBe(first)
    expect(vps.pid()).not.toBe(pid)
  })

  test('--rollback goes back to the release before, and --version to any that is there', async () => {
    const [second, first] = [vps.linked('current') ?? '', vps.linked('previous')]
    const back = await vps.deploy(['--rollback'])
    expect(back.said).toContain(`${first} runs and is well`)
    expect(back.code).toBe(0)
    expect(vps.linked('current')).toBe(first)
    expect(vps.linked('previous')).toBe(second)
    const forth = await vps.deploy(['--version', second])
    expect(forth.code).toBe(0)
    expect(vps.linked('current')).toBe(second)
    const unknown = await vps.deploy(['--version', '9.9.9-nowhere'])
    expect(unknown.said).toContain('is not on this machine')
    expect(unknown.code).toBe(1)
  })

  /** Deploys a release that must not stay, and looks at what is there afterwards. */
  const staysAsItWas = async (change: (text: string) => string, expected: string): Promise<string> => {
    const [current, previous, original] = [
      vps.linked('current'),
      vps.linked('previous'),
      readFileSync(join(vps.repository.folder, MAIN), 'utf8'),
    ]
    vps.repository.commit(MAIN, change)
    const { code, said } = await vps.deploy(['--health-seconds', '25'])
    vps.repository.commit(MAIN, () => original)
    expect(said).toContain(expected)
    expect(code).toBe(1)
    expect(vps.linked('current')).toBe(current)
    expect(vps.linked('previous')).toBe(previous)
    expect((await vps.agents())[0]).toMatchObject({ alive: true })
    return said
  }

  test('a release that ends at once is replaced by the one before, by itself', async () => {
    const pid = vps.pid()
    const said = await staysAsItWas(
      (text) => `if (process.argv[2] === 'run') process.exit(1)\n${text}`,
      'Going back to',
    )
    expect(said).toMatch(/runs again and is well/)
    expect(vps.pid()).not.toBe(pid)
  })

  test('a release that lives and never reaches the control plane is replaced, too', async () => {
    const deaf = "if (process.argv[2] === 'run') process.env['CONTROL_PLANE_URL'] = 'http://127.0.0.1:9'\n"
    await staysAsItWas((text) => `${deaf}${text}`, 'runs again and is well')
  })

  test('a release that does not accept the configuration is never started', async () => {
    const pid = vps.pid()
    await staysAsItWas(
      (text) => `if (process.argv[2] === 'doctor') process.exit(2)\n${text}`,
      'does not accept the configuration',
    )
    expect(vps.pid()).toBe(pid)
  })

  test('a line that breaks while the release is sent leaves everything as it was', async () => {
    const [pid, current] = [vps.pid(), vps.linked('current')]
    vps.repository.commit(MAIN, (text) => `${text}\n// cut while sending\n`)
    const { code } = await vps.deploy([], {
      at: { text: 'Sending', do: () => vps.sshd.line.cutAfterBytes(100_000, 'toServer') },
    })
    await vps.sshd.line.resume()
    expect(code).not.toBe(0)
    expect(vps.linked('current')).toBe(current)
    expect(vps.pid()).toBe(pid)
  })

  test('a line that breaks while packages are installed leaves the release that runs', async () => {
    const [pid, current] = [vps.pid(), vps.linked('current')]
    vps.repository.commit(MAIN, (text) => `${text}\n// cut while installing\n`)
    const { code } = await vps.deploy([], { at: { text: 'Installing its packages', do: () => vps.sshd.line.cutAll() } })
    expect(code).not.toBe(0)
    await until('the installer there to end', 60_000, () => isUnlocked(), 200)
    expect(vps.linked('current')).toBe(current)
    expect(vps.pid()).toBe(pid)
    // And the next one is not in the way of what was left.
    expect((await vps.deploy()).said).toContain('runs and is well')
  })

  test('a line that breaks after the switch to a bad release still lets the release before come back', async () => {
    const [current, original] = [vps.linked('current'), readFileSync(join(vps.repository.folder, MAIN), 'utf8')]
    vps.repository.commit(MAIN, (text) => `if (process.argv[2] === 'run') process.exit(1)\n${text}`)
    const { code } = await vps.deploy(['--health-seconds', '15'], {
      at: { text: 'seconds to be well', do: () => vps.sshd.line.cutAll() },
    })
    vps.repository.commit(MAIN, () => original)
    expect(code).not.toBe(0)
    await until('the installer there to end', 60_000, () => isUnlocked(), 200)
    expect(vps.linked('current')).toBe(current)
    expect(readFileSync(join(app(), 'install.log'), 'utf8').trimEnd()).toMatch(/runs again and is well[^\n]*$/)
    expect((await vps.deploy(['--check'])).said).toContain('service   runs, well')
  })

  test('two installs at once: the second is turned away', async () => {
    vps.repository.commit(MAIN, (text) => `${text}\n// two at once\n`)
    let second: ReturnType<Vps['deploy']> | undefined
    const { code } = await vps.deploy([], {
      at: { text: 'Installing its packages', do: () => void (second = vps.deploy()) },
    })
    expect(code).toBe(0)
    expect((await second)?.said).toContain('another install-agent.sh is at work here')
  })

  test('a configuration that is there is never overwritten, and releases that nobody uses go', async () => {
    const env = readFileSync(etc('agent.env'), 'utf8')
    const { said } = await vps.deploy(['--agent-id', 'other', '--control-plane-url', 'https://other.example.com'])
    expect(said).toContain('has another AGENT_ID, which stays')
    expect(readFileSync(etc('agent.env'), 'utf8')).toBe(env)
    const releases = execFileSync('ls', [join(app(), 'releases')], { encoding: 'utf8' })
      .trim()
      .split('\n')
    expect(releases.length).toBeLessThanOrEqual(3)
    rmSync(join(vps.folder, 'wire'), { recursive: true })
  })

  /** No installer is at work on the machine. */
  function isUnlocked(): boolean {
    try {
      execFileSync('bash', ['-c', 'flock --nonblock "$0" true', join(app(), '.lock')])
      return true
    } catch {
      return false
    }
  }
})
