import { runLocalJob } from '../../agent/src/cli/run-local-job.ts'
import { readEnv } from '../../agent/src/env.ts'
import { openContext } from '../../agent/src/open-context.ts'
import type { ReportSink } from '../../agent/src/report/reporter.ts'
import { nowMs } from './clock.ts'
import type { AgentOrder, Mark, Ran } from './messages.ts'

/*
 * The agent, running one job after the other as its daemon does, and telling when each phase began and each event came.
 */

await using opened = await openContext(readEnv())
let marks: Mark[] = []
const mark = (name: string, data: Mark['data']): void => void marks.push({ name, atMs: nowMs(), data })
const sink: ReportSink = {
  phase: (phase) => mark(phase, {}),
  event: ({ type, data }) => mark(type, data),
  progress() {},
}

async function runJob({ params }: AgentOrder): Promise<Ran> {
  marks = []
  const { job, result } = await runLocalJob(opened, params, {
    dryRun: false,
    sinks: [sink],
    signal: new AbortController().signal,
  })
  return { job: job.id, result, marks, endedMs: nowMs() }
}

const ended = new Promise<void>((resolve) => process.once('disconnect', resolve))
process.on('message', (order: AgentOrder) => void runJob(order).then((answer) => process.send?.(answer)))
await ended
