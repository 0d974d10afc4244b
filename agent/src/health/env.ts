import { readFileSync } from 'node:fs'
import { readFileVariables } from '@multiboard-sync/shared/file-variables'

export const DEFAULT_STATE_DIR = './.state'

/** AGENT_STATE_DIR alone, as ../env.ts reads it; a text where it cannot be read. Without zod, which costs 20 MB. */
export function readStateDir(env: NodeJS.ProcessEnv = process.env): { stateDir: string } | { mistake: string } {
  const readText = (path: string): string => readFileSync(path, 'utf8')
  const { set, mistakes } = readFileVariables(env, (name) => name === 'AGENT_STATE_DIR', readText)
  const [mistake] = mistakes
  return mistake === undefined ? { stateDir: set['AGENT_STATE_DIR'] ?? DEFAULT_STATE_DIR } : { mistake }
}
