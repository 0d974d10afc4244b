import { defineConfig } from 'rolldown'

/**
 * One file for a platform that runs functions: it does not follow a workspace package's `.ts` exports. Hono stays
 * outside, because the platform finds the entry by its import.
 */
export default defineConfig({
  input: 'src/index.ts',
  platform: 'node',
  external: [/^hono(\/|$)/],
  // A library imports some of its parts when they are needed; one file must hold them all.
  output: { file: 'dist/index.js', format: 'esm', codeSplitting: false, sourcemap: true },
})
