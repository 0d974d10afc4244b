import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { readStateDir } from './env.ts'
import { DEFAULT_MAX_AGE_MS, HEARTBEAT_FILE, heartbeatText, judgeHeartbeat, parseHeartbeat } from './heartbeat.ts'

/*
 * `agent health`: whether the daemon of this state folder is well, by its sign of life: exit code 0, or 1 with the reason, or 2
 * for wrong usage. Needs no port, no policy and no key. What cannot be mended by a new start of the daemon, as a control plane
 * that is away, is told as a warning and is well: whoever starts unhealthy containers anew would only cost a job its time.
 */

const [WELL, UNWELL, USAGE] = [0, 1, 2]

const out = (text: string): void => void process.stdout.write(`${text}\n`)

export async function main(argv: string[]): Promise<number> {
  const asked = readArguments(argv)
  const place = readStateDir()
  const mistake = 'mistake' in asked ? asked.mistake : 'mistake' in place ? place.mistake : undefined
  if ('mistake' in asked || 'mistake' in place) {
    const code = 'mistake' in asked ? 'usage' : 'config-invalid'
    process.stderr.write(`${code}: ${mistake}\nhint: Write: health [--max-age <seconds>] [--json].\n`)
    return USAGE
  }
  const now = new Date()
  const text = await readFile(join(place.stateDir, HEARTBEAT_FILE), 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  })
  const heartbeat = text === undefined ? undefined : parseHeartbeat(text)
  const { isWell, remarks } = heartbeat
    ? judgeHeartbeat(heartbeat, now, asked.maxAgeMs)
    : { isWell: false, remarks: [text === undefined ? ABSENT : FOREIGN] }
  if (asked.json) out(JSON.stringify({ ok: isWell, remarks, ...(heartbeat ? { heartbeat } : {}) }))
  else {
    if (heartbeat) out(heartbeatText(heartbeat, now))
    for (const remark of remarks) out(`${isWell ? 'warning' : 'unwell'}: ${remark}`)
  }
  return isWell ? WELL : UNWELL
}

const ABSENT = `AGENT_STATE_DIR holds no ${HEARTBEAT_FILE}: no daemon runs on this folder, or it is still starting.`
const FOREIGN = `${HEARTBEAT_FILE} in AGENT_STATE_DIR is not what a daemon of this version writes.`

function readArguments(argv: string[]): { json: boolean; maxAgeMs: number } | { mistake: string } {
  try {
    const { values, positionals } = parseArgs({
      args: argv.filter((word, index) => !(word === '--' && index === 0)),
      options: { 'max-age': { type: 'string' }, json: { type: 'boolean', default: false } },
      allowPositionals: true,
    })
    const maxAgeS = Number(values['max-age'] ?? DEFAULT_MAX_AGE_MS / 1000)
    if (positionals.length > 1) return { mistake: `"health" does not take the word "${positionals[1]}".` }
    if (!(maxAgeS > 0)) return { mistake: '--max-age takes a number of seconds.' }
    return { json: values.json, maxAgeMs: maxAgeS * 1000 }
  } catch (thrown) {
    return {
      mistake: thrown instanceof Error ? (thrown.message.split('\n')[0] ?? '') : 'The command line cannot be read.',
    }
  }
}
