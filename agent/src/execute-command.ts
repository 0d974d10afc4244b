import { formatNumberOf } from '@multiboard-sync/shared/sizes'
import { isRefusal, toSyncError } from '@multiboard-sync/shared/sync-error'
import { printPlanView } from './plan/print-plan.ts'
import { archiveKeyJson, archiveKeysText, readArchiveKeys } from './cli/archive-keys.ts'
import { archivesText, archiveText, readArchive, readArchives } from './cli/list-archives.ts'
import { findingText } from './cli/doctor.ts'
import { cleanedJson, cleanedText } from './cli/leftovers-text.ts'
import { enrollCommand, rotateKeyCommand } from './cli/key-commands.ts'
import { parseCommand, type Command } from './cli/parse-command.ts'
import { errorText, resultJson, resultText } from './cli/print-result.ts'
import { checkCollections, inferCollection } from './cli/collections.ts'
import { diagnose } from './cli/open-for-doctor.ts'
import { progressSink } from './cli/progress-line.ts'
import { resolveReindex } from './cli/resolve-reindex.ts'
import { resolveUndo } from './cli/resolve-undo.ts'
import { runLocalJob } from './cli/run-local-job.ts'
import { USAGE } from './cli/usage.ts'
import { watchSignals } from './cli/watch-signals.ts'
import { clean } from './clean.ts'
import { readEnrollEnv, readEnv } from './env.ts'
import { logFailure, setLogLevel } from './log.ts'
import { openContext, readVersion, type OpenedContext } from './open-context.ts'
import { runDaemon } from './run-daemon.ts'

/** What main.ts ends the process with. */
const EXIT = { succeeded: 0, failed: 1, canceled: 1, refused: 3 } as const
const EXIT_CONFIGURATION = 2
/** The job succeeded, and searches still find what was there before it. */
const EXIT_STALE = 4
const CONFIGURATION_CODES = new Set(['usage', 'config-invalid', 'key-missing'])

const out = (text: string): void => void process.stdout.write(`${text}\n`)

async function execute(command: Command): Promise<number> {
  if (command.name === 'help') {
    out(USAGE)
    return 0
  }
  if (command.name === 'enroll' || command.name === 'rotate-key') return await changeKey(command)
  if (command.name === 'doctor') return await doctor(command.json)
  const env = readEnv()
  setLogLevel(env.LOG_LEVEL)
  await using opened = await openContext(env)
  const { first, second } = watchSignals(command.name === 'run')
  switch (command.name) {
    case 'run':
      await runDaemon(env, opened, { draining: first, stopping: second })
      return EXIT.succeeded
    case 'archives': {
      const archives = await readArchives(opened.context, first)
      out(command.json ? JSON.stringify({ archives }) : archivesText(archives))
      return 0
    }
    case 'archive-keys': {
      const signers = await readArchiveKeys(opened, first)
      out(command.json ? JSON.stringify({ keys: signers.map(archiveKeyJson) }) : archiveKeysText(signers))
      return 0
    }
    case 'show': {
      const archive = await readArchive(opened.context, command.archive, first)
      out(command.json ? JSON.stringify(archive) : archiveText(archive))
      return 0
    }
    case 'job':
      return await runJobCommand(opened, command, first)
    case 'undo': {
      const params = await resolveUndo(opened.context, command, first)
      return await runJobCommand(opened, { ...command, name: 'job', params }, first)
    }
    case 'reindex': {
      const params = resolveReindex(opened.context.policy, command)
      return await runJobCommand(opened, { ...command, name: 'job', params }, first)
    }
    case 'collections-check': {
      const { text, json, isWell } = await checkCollections(opened, command.aliases, first)
      out(command.json ? JSON.stringify(json) : text)
      return isWell ? EXIT.succeeded : EXIT.failed
    }
    case 'collections-infer': {
      const { text, json } = await inferCollection(opened, command.source, command.table, first)
      out(command.json ? JSON.stringify(json) : text)
      return EXIT.succeeded
    }
    case 'clean': {
      const cleaned = await clean(opened.context, command, first)
      out(command.json ? JSON.stringify({ cleaned: cleaned.map(cleanedJson) }) : cleanedText(cleaned))
      return EXIT.succeeded
    }
  }
}

/** Needs neither policy nor bucket: an agent is enrolled before it has them. */
async function changeKey(command: Extract<Command, { name: 'enroll' | 'rotate-key' }>): Promise<number> {
  const env = readEnrollEnv()
  const [{ first }, version] = [watchSignals(false), await readVersion()]
  const { text, json } =
    command.name === 'enroll'
      ? await enrollCommand(env, command.code, version, first)
      : await rotateKeyCommand(env, version, first)
  out(command.json ? JSON.stringify(json) : text)
  return EXIT.succeeded
}

/** With --json a finding a line, and last how it is as a whole. Goes on where the configuration is wrong, which is a finding. */
async function doctor(json: boolean): Promise<number> {
  let failed = 0
  const { isWell, isConfigured } = await diagnose(watchSignals(false).first, (finding) => {
    if (!finding.ok && !finding.skipped) failed += 1
    out(json ? JSON.stringify(finding) : findingText(finding))
  })
  if (json) out(JSON.stringify({ ok: isWell, failed }))
  else out(isWell ? '\nAll is well.' : `\n${formatNumberOf(failed, 'check')} failed.`)
  if (isWell) return EXIT.succeeded
  return isConfigured ? EXIT.failed : EXIT_CONFIGURATION
}

async function runJobCommand(
  opened: OpenedContext,
  command: Extract<Command, { name: 'job' }>,
  signal: AbortSignal,
): Promise<number> {
  const line = progressSink(process.stderr)
  const { params, dryRun, json } = command
  const { job, result } = await runLocalJob(opened, params, {
    dryRun,
    sinks: json ? [] : [line],
    signal,
  })
  line.end()
  const plan = dryRun && result.outcome === 'succeeded' ? result.plan : undefined
  if (plan) out(json ? JSON.stringify(plan) : printPlanView(plan))
  else out(json ? resultJson(job, result) : resultText(job, result))
  if (result.outcome === 'succeeded' && result.search?.state === 'stale') return EXIT_STALE
  return CONFIGURATION_CODES.has(result.code ?? '') ? EXIT_CONFIGURATION : EXIT[result.outcome]
}

/** Does what a command line asks for, and answers the exit code. Never throws. */
export async function main(argv: string[]): Promise<number> {
  const json = argv.includes('--json')
  try {
    return await execute(parseCommand(argv))
  } catch (thrown) {
    const error = toSyncError(thrown)
    if (error.code === 'internal') logFailure('', error)
    const { code, message, hint, details } = error
    const outcome = isRefusal(code) ? 'refused' : 'failed'
    if (json) out(JSON.stringify({ outcome, code, message, hint, details, target_state: 'untouched' }))
    else process.stderr.write(`${errorText(error)}\n`)
    return CONFIGURATION_CODES.has(code) ? EXIT_CONFIGURATION : EXIT[outcome]
  }
}
