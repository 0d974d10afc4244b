import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startControlPlane, type StartOptions } from '../../../control-plane/src/start-control-plane.ts'
import { startObjectStore } from '../../../shared/testing/object-store.ts'
import { createDatabase } from '../../../shared/testing/test-database.ts'
import { callApi, type Api } from '../../demo/call-api.ts'
import { makeKeys } from '../../make-keys.ts'
import { makeRepository, type Repository } from './make-repository.ts'
import { runScript, type Ended, type RunOptions } from './run-script.ts'
import { startSshd, type Sshd } from './start-sshd.ts'

/*
 * A machine to deploy to, as far as one can be had without another: a folder in the place of `/`, reached by a real sshd,
 * with a stand-in for systemctl; and what its agent needs: databases, a bucket and a control plane.
 */

const here = fileURLToPath(new URL('.', import.meta.url))
const ADMIN_TOKEN = 'an-admin-token-for-tests-alone-0000'

export interface Vps extends AsyncDisposable {
  root: string
  folder: string
  repository: Repository
  sshd: Sshd
  url: string
  trustFile: string
  /** scripts/deploy.sh of the repository, from the laptop. */
  deploy(words?: readonly string[], options?: Partial<RunOptions>): Promise<Ended>
  /** systemctl, on the machine. */
  systemctl(...words: string[]): void
  /** A new code for the agent `vps-1`. */
  askForCode(): Promise<string>
  /** What an operator would type into agent.env and agent.yaml. */
  fillIn(): void
  /** The release that a link names. */
  linked(link: 'current' | 'previous'): string | undefined
  /** The agent's process; undefined when none is started. */
  pid(): number | undefined
  /** Every byte that went over ssh so far, either way, and the words that ssh was given. */
  wire(): string
  agents(): Promise<{ id: string; alive: boolean }[]>
}

export async function openVps(): Promise<Vps> {
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-deploy-'))
  started.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  const path = (name: string): string => join(folder, name)
  const root = path('vps')
  for (const name of ['vps', 'laptop', 'wire', 'objects']) mkdirSync(path(name))

  const databases = { production: started.use(await createDatabase()), staging: started.use(await createDatabase()) }
  const control = started.use(await createDatabase())
  const store = started.use(await startObjectStore({ dataDir: path('objects') }))
  await store.createBucket('archives')
  const keys = await makeKeys(path('keys'))
  const controlPlane = started.use(
    await startControlPlane({
      databaseUrl: control.url,
      signingKey: JSON.parse(readFileSync(keys.controlPlaneKeyFile, 'utf8')) as StartOptions['signingKey'],
      adminToken: ADMIN_TOKEN,
      lease: { leaseMs: 90_000, graceMs: 30_000 },
      host: '127.0.0.1',
      port: 0,
      log: () => undefined,
    }),
  )
  const api: Api = { url: controlPlane.url, adminToken: ADMIN_TOKEN }

  copyFileSync(join(here, 'systemctl.sh'), path('systemctl'))
  const machine = { MBS_PREFIX: root, MBS_SYSTEMCTL: path('systemctl'), MBS_TEST_PID: String(process.pid) }
  const sshd = started.use(await startSshd(path('sshd'), { ...machine, ...forNpm() }))
  mkdirSync(path('bin'))
  symlinkSync(join(here, 'ssh.sh'), path('bin/ssh'))
  const systemctl = (...words: string[]): void => {
    execFileSync(path('systemctl'), words, { env: { ...process.env, ...machine }, stdio: 'ignore' })
  }
  started.defer(() => systemctl('stop'))

  mkdirSync(path('laptop/repository'))
  const repository = makeRepository(path('laptop/repository'))
  const env = {
    ...process.env,
    PATH: `${path('bin')}:${process.env['PATH'] ?? ''}`,
    TMPDIR: folder,
    MBS_WIRE: path('wire'),
    MBS_SSH_CONFIG: sshd.configFile,
  }
  const etc = join(root, 'etc/multiboard-sync')
  const resources = started.move()
  return {
    root,
    folder,
    repository,
    sshd,
    url: controlPlane.url,
    trustFile: keys.trustFile,
    deploy: async (words = [], options) =>
      await runScript(join(repository.folder, 'scripts/deploy.sh'), [sshd.host, ...words], { env, ...options }),
    systemctl,
    askForCode: async () => {
      const reply = await callApi(api, 'POST', '/v1/enrollments', AbortSignal.timeout(30_000), { agent: 'vps-1' })
      return (reply as { code: string }).code
    },
    fillIn: () => {
      const set: Record<string, string> = {
        PRODUCTION_DATABASE_URL: databases.production.url,
        STAGING_DATABASE_URL: databases.staging.url,
        S3_ENDPOINT: store.endpoint,
        S3_REGION: store.region,
        S3_BUCKET: 'archives',
        S3_ACCESS_KEY_ID: store.accessKeyId,
        S3_SECRET_ACCESS_KEY: store.secretAccessKey,
        S3_FORCE_PATH_STYLE: 'true',
      }
      const text = readFileSync(join(etc, 'agent.env'), 'utf8')
      writeFileSync(
        join(etc, 'agent.env'),
        text.replace(/^(\w+)=$/gm, (line, name: string) => (name in set ? `${name}=${set[name]}` : line)),
      )
    },
    linked: (link) => {
      const file = join(root, 'opt/multiboard-sync', link)
      return existsSync(file) ? basename(readlinkSync(file)) : undefined
    },
    pid: () => {
      const file = join(root, 'run/main')
      return existsSync(file) ? Number(readFileSync(file, 'utf8')) : undefined
    },
    wire: () =>
      readdirSync(path('wire'))
        .map((name) => readFileSync(join(path('wire'), name), 'latin1'))
        .join('\n'),
    agents: async () => {
      const reply = await callApi(api, 'GET', '/v1/agents', AbortSignal.timeout(30_000))
      return (reply as { agents: { id: string; alive: boolean }[] }).agents
    },
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  }
}

/** What this machine's npm needs to reach its registry; a session over ssh begins with nothing. */
function forNpm(): Record<string, string> {
  const names =
    /^(PATH|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|npm_config_(registry|cafile|cache)|(https?|no)_proxy)$/i
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value && names.test(name) ? [[name, value]] : [])),
  )
}
