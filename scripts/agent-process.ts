/**
 * How the agent's process is started wherever memory counts; `pnpm agent` says the same in package.json. Streams make much
 * short-lived garbage: V8's young generation would grow to 48 MB for it, and glibc would keep an arena for each thread.
 */
export const agentNodeOptions = ['--max-semi-space-size=4']
export const agentMemoryEnv = { MALLOC_ARENA_MAX: '2' }
