import type { Answer } from '../jobs/choose-agent.ts'

/** A verdict as people see it. */
export function viewVerdict({ agent, verdict }: Answer) {
  if (verdict.allowed) return { agent, allowed: true }
  const { code, message, hint, next_allowed_at } = verdict
  return {
    agent,
    allowed: false,
    code,
    message,
    hint,
    ...(next_allowed_at ? { next_allowed_at: next_allowed_at.toISOString() } : {}),
  }
}
