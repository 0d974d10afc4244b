import { fileURLToPath } from 'node:url'

/**
 * How the agent's process is started wherever memory counts; `pnpm agent` says the same in package.json. Streams make much
 * short-lived garbage: V8's young generation would grow to 48 MB for it, and glibc would keep an arena for each thread.
 * The compile cache saves the stripping of types, a third of a second and the memory of the stripper, at every start but
 * the first. --expose-gc lets long streams collect the pieces that V8 does not count (reindex/incremental/watch-export.ts).
 * --liftoff-only: optimising pg_dump's WebAssembly for its one second costs more than it saves, and some 25 MB.
 */
export const agentNodeOptions = ['--max-semi-space-size=4', '--expose-gc', '--liftoff-only']
export const agentProcessEnv = {
  MALLOC_ARENA_MAX: '2',
  NODE_COMPILE_CACHE: fileURLToPath(new URL('../.cache/compile', import.meta.url)),
}
