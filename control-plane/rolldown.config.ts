import { defineConfig } from 'rolldown'

/**
 * One file for a platform that runs functions: it does not follow a workspace package's `.ts` exports. Hono stays
 * outside, because the platform finds the entry by its import.
 */
export default defineConfig({
  input: 'src/index.ts',
  platform: 'node',
  external: [/^hono(\/|$)/],
  output: { file: 'dist/index.js', format: 'esm', sourcemap: true },
})
