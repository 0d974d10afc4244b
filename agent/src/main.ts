/**
 * The only place that ends the process, but for a signal that waits for nothing (cli/watch-signals.ts). `health` loads next to nothing: it is asked each minute, beside a job and within
 * the same limit of memory.
 */
const argv = process.argv.slice(2)
const isHealth = argv.find((word) => word !== '--') === 'health'
const { main } = isHealth ? await import('./health/tell-health.ts') : await import('./execute-command.ts')
process.exitCode = await main(argv)
