import type { TestProject } from 'vitest/node'

import { startPostgres } from './postgres.ts'

/** What tests need to reach the run's server; `inject('postgres')` gives it. */
export interface ProvidedPostgres {
  major: number
  host: string
  port: number
  user: string
  password: string
}

declare module 'vitest' {
  interface ProvidedContext {
    postgres: ProvidedPostgres
  }
}

/** Starts one PostgreSQL for the whole test run; vitest calls what it returns at the end. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres()
  const { major, host, port, user, password } = server
  project.provide('postgres', { major, host, port, user, password })
  return async () => await server.stop('immediate')
}
