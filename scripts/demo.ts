import { setMaxListeners } from 'node:events'

import { SyncError } from '../shared/src/sync-error.ts'
import { describeProof } from './demo/describe-end.ts'
import { parseOptions, usage, type DemoOptions } from './demo/options.ts'
import { endOfFailure, exitCodeOf, outcomeJson, type DemoEnd } from './demo/outcome.ts'
import { runDemo } from './demo/run-demo.ts'
import { openScreen } from './demo/show-progress.ts'
import { watchStop } from './demo/watch-stop.ts'

/*
 * The whole road on one machine: PostgreSQL, an S3-compatible store, a stand-in for Typesense, the control plane and an
 * agent, started here; one sync, asked for over HTTP and watched as it runs; then what was proven, and what is found now.
 *
 * Promises: nothing but 127.0.0.1 and a temporary folder is touched, and both are left as they were, whatever happens. Only
 * on a search server that was named for it, the demo makes an alias and collections of its own.
 */

async function demo(options: DemoOptions): Promise<number> {
  const screen = openScreen(options.json ? process.stderr : process.stdout)
  const { stop, signal } = watchStop()
  setMaxListeners(0, signal)
  let job: DemoEnd['job']
  let end: DemoEnd | undefined
  try {
    await runDemo(options, screen, signal, {
      asked: (asked) => void (job = asked),
      ended: async (ended, { proof, whereabouts }) => {
        end = ended
        screen.line(proof)
        const staysUp = ended.result.outcome === 'succeeded' && !options.once
        if (staysUp) screen.line(`${whereabouts}\n\nUp until Ctrl-C.`)
        if (options.json) process.stdout.write(`${outcomeJson(ended)}\n`)
        if (!staysUp) return
        await stop
        screen.line('Taking everything down.')
      },
    })
    return end === undefined ? 1 : exitCodeOf(end.result)
  } catch (thrown) {
    const failure = endOfFailure(
      signal.aborted && end === undefined ? signal.reason : thrown,
      end === undefined ? job : undefined,
    )
    screen.line(describeProof(failure, [], 0))
    if (failure.result.code === 'internal') console.error(thrown)
    if (options.json && end === undefined) process.stdout.write(`${outcomeJson(failure)}\n`)
    return exitCodeOf(failure.result)
  }
}

async function main(argv: string[]): Promise<number> {
  let options: DemoOptions | undefined
  try {
    options = parseOptions(argv, [process.cwd(), process.env['INIT_CWD'] ?? process.cwd()], process.env)
  } catch (error) {
    const { message } = error as Error
    process.stderr.write(`${message}\nSee --help.\n`)
    if (argv.includes('--json')) {
      const failure = endOfFailure(new SyncError('usage', message, { hint: 'See --help.' }), undefined)
      process.stdout.write(`${outcomeJson(failure)}\n`)
    }
    return 2
  }
  if (options === undefined) {
    process.stdout.write(usage)
    return 0
  }
  return await demo(options)
}

process.exitCode = await main(process.argv.slice(2))
