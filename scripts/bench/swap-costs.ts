import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { JobParams } from '../../shared/src/job.ts'
import { startObjectStore } from '../../shared/testing/object-store.ts'
import { startPostgres } from '../../shared/testing/postgres.ts'
import { formatTable, median, short, spread } from './figures.ts'
import { makeDatabases, type Case } from './make-databases.ts'
import { measureJob, measureProof, type Proof, type ReadJob } from './measure-job.ts'
import { startAgent, startReaders } from './processes.ts'
import { makeKeys } from '../make-keys.ts'

/*
 * Measures what a swap costs others, and what the proof costs: `pnpm bench --readers`.
 *
 * Readers: four connections read a table and a view over it by prepared statements, as fast as they can, while an older
 * copy of a database is replaced by swap and put back by undo. What they waited longest is told for the time before the job
 * (what the machine itself makes them wait), for the whole job, while the stage is made, at the swap and at the undo.
 * Proof: the same job with `verify: checksums` and with `verify: counts`, one after the other, nobody reading.
 *
 * Server, object store, agent and readers share this machine, so its cores are part of every figure. The server flushes to
 * disk at each commit, as one in earnest does.
 */

interface Round {
  title: string
  tables: number
  sync: ReadJob
  undo: ReadJob
}

interface Figures {
  rounds: Round[]
  checksums: Proof[]
  counts: Proof[]
}

const SETTINGS = {
  fsync: 'on',
  synchronous_commit: 'on',
  max_wal_size: '4GB',
  // 500 tables, twice, with their indexes and keys.
  max_locks_per_transaction: '512',
}
/** With many tables a round takes long and tells the same: only the first rounds have them, three those of 100 tables. */
const TABLES_IN_ALL = 300

export interface SwapCostsOptions {
  components: number
  rounds: number
  major: number
  say: (text: string) => void
}

export async function measureSwapCosts({ components, rounds, major, say }: SwapCostsOptions): Promise<Figures> {
  await using started = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'multiboard-sync-bench-'))
  started.defer(async () => await rm(folder, { recursive: true, force: true }))
  const postgres = started.use(await startPostgres({ major, settings: SETTINGS }))
  const store = started.use(await startObjectStore())
  await store.createBucket('archive')
  say('Making the databases.')
  const { cases, names } = await makeDatabases((name) => postgres.url(name), components)
  const keys = await makeKeys(join(folder, 'keys'))
  const agentWith = async (verify: string) => {
    const config = join(folder, `${verify}.yaml`)
    await writeFile(config, policyOf(cases, names, verify))
    return started.use(
      startAgent({
        ...Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_DATABASE_URL`, postgres.url(name)])),
        AGENT_CONFIG: config,
        AGENT_STATE_DIR: join(folder, `state-${verify}`),
        AGENT_KEY_FILE: keys.agentKeyFile,
        TRUST_FILE: keys.trustFile,
        S3_ENDPOINT: store.endpoint,
        S3_BUCKET: 'archive',
        S3_ACCESS_KEY_ID: store.accessKeyId,
        S3_SECRET_ACCESS_KEY: store.secretAccessKey,
        S3_FORCE_PATH_STYLE: 'true',
      }),
    )
  }
  const agents = { checksums: await agentWith('checksums'), counts: await agentWith('counts') }
  const readers = started.use(startReaders())

  const figures: Figures = { rounds: [], checksums: [], counts: [] }
  for (let round = 1; round <= rounds; round += 1) {
    say(`Round ${round} of ${rounds}.`)
    for (const { title, from, to, tables, reading } of cases) {
      if (round > 1 && tables * round > TABLES_IN_ALL) continue
      const measure = async (params: JobParams) =>
        await measureJob(agents.checksums, readers, postgres.url(to), reading, params)
      const sync = await measure({ kind: 'sync', source: from, target: to, engine: 'swap' })
      const undo = await measure({ kind: 'undo', target: to, job: sync.job })
      figures.rounds.push({ title, tables, sync, undo })
    }
    // By turns, so that a machine that slows down slows both.
    const order = ['checksums', 'counts'] as const
    for (const verify of round % 2 === 1 ? order : order.toReversed()) {
      const agent = agents[verify]
      const proof = await measureProof(agent, { kind: 'sync', source: 'production', target: 'staging', engine: 'swap' })
      await agent.run({ kind: 'undo', target: 'staging', job: proof.job })
      figures[verify].push(proof)
    }
  }
  return figures
}

function policyOf(cases: Case[], names: string[], verify: string): string {
  return [
    'databases:',
    ...names.map((name) => `  ${name}: { role: both }`),
    'routes:',
    ...cases.map(({ from, to }) => `  - { from: ${from}, to: ${to} }`),
    `verify: ${verify}`,
  ].join('\n')
}

function printReaders(rounds: Round[]): string {
  const titles = [...new Set(rounds.map(({ title }) => title))]
  const of = (title: string, figure: (round: Round) => number | undefined): string =>
    spread(rounds.filter((round) => round.title === title).map(figure))
  const figures: [string, (round: Round) => number | undefined][] = [
    ['before, ms', ({ sync }) => sync.waitBefore],
    ['whole job', ({ sync }) => sync.wait],
    ['at the stage', ({ sync }) => sync.waitAtStage],
    ['at the swap', ({ sync }) => sync.waitAtSwap],
    ['at the undo', ({ undo }) => undo.waitAtSwap],
    ['locked: stage', ({ sync }) => sync.lockedAtStage],
    ['swap', ({ sync }) => sync.locked],
    ['undo', ({ undo }) => undo.locked],
    ['sync, s', ({ sync }) => sync.seconds],
    ['undo, s', ({ undo }) => undo.seconds],
  ]
  return formatTable([
    ['', ...figures.map(([name]) => name)],
    ...titles.map((title) => [title, ...figures.map(([, figure]) => of(title, figure))]),
  ])
}

function printProof({ checksums, counts }: Figures): string {
  const figures: [string, (proof: Proof) => number][] = [
    ['loading, s', ({ loading }) => loading],
    ['proving, s', ({ proving }) => proving],
    ['job, s', ({ seconds }) => seconds],
  ]
  const middle = (proofs: Proof[], figure: (proof: Proof) => number): number => median(proofs.map(figure)) ?? 0
  return formatTable([
    ['', ...figures.map(([name]) => name)],
    ['checksums', ...figures.map(([, figure]) => spread(checksums.map(figure)))],
    ['counts', ...figures.map(([, figure]) => spread(counts.map(figure)))],
    ['ratio', ...figures.map(([, figure]) => short(middle(checksums, figure) / middle(counts, figure)))],
  ])
}

export function printSwapCosts(figures: Figures, components: number): string {
  return `Readers: the longest wait of any of four, and how long their locks were held; median (worst).
${printReaders(figures.rounds)}

Proof: rows and checksums against rows alone; ${components} components; median (worst).
${printProof(figures)}`
}
